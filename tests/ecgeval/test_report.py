from ecgeval.config import Evaluate
from ecgeval.report import report, score
from ecgeval.runs import find_runs, read_run
from pipelines.workspace import Workspace


def test_smoke(make_run, home):
    make_run()
    page = report(
        score([read_run(p) for p in find_runs(Workspace(home))], Evaluate(bootstrap=20)),
        Evaluate(),
        home / "out",
    )
    assert page.is_file()
