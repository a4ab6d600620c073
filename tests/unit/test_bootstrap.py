"""./rehearse: the environment is made once, afresh after an interruption, and never in the place of somebody else's.

The Python and the uv that it finds here are scripts that write down what they are asked; all else is the real thing.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

FAKE_PYTHON = r"""#!/bin/sh
echo "python $*" >> "$JOURNAL"
case "$*" in
*"config list"*) printf '%s' "$PIP_CONFIG" ;;
"-m venv "*)
    sleep "${VENV_SLOWNESS:-0}"
    mkdir -p "$3/bin"
    cp "$0" "$3/bin/python"
    cp "$UV" "$3/bin/uv"
    printf '#!/bin/sh\necho "rehearse $*"\n' > "$3/bin/rehearse"
    printf '#!/bin/sh\necho "tox $*"\n' > "$3/bin/tox"
    chmod +x "$3"/bin/* ;;
-c*) exit "${PYTHON_CODE:-0}" ;;
esac
"""


FAKE_UV = r"""#!/bin/sh
echo "uv $* index=$UV_DEFAULT_INDEX links=$UV_FIND_LINKS cert=$SSL_CERT_FILE" >> "$JOURNAL"
exit "${UV_CODE:-0}"
"""

TOOLS = (
    "bash", "cat", "chmod", "cp", "date", "dirname", "env", "flock", "id", "mkdir", "mv", "printf", "readlink", "rm",
    "sed", "sh", "sha256sum", "sleep", "uname",
)  # fmt: skip


class Clone:
    """A clone with a fake Python on PATH, and the journal of what was asked of it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.journal, self.venv = folder / "clone", folder / "journal", folder / "clone/.venv"
        self.folder.mkdir()
        for name in ("rehearse", "pyproject.toml", "constraints.txt"):
            shutil.copy(ROOT / name, self.folder)
        programs = folder / "bin"
        programs.mkdir()
        for tool in TOOLS:
            (programs / tool).symlink_to(str(shutil.which(tool)))
        for path, text in ((programs / "python3", FAKE_PYTHON), (folder / "uv", FAKE_UV)):
            path.write_text(text)
            path.chmod(0o755)
        self.environment = {
            "PATH": str(programs), "JOURNAL": str(self.journal), "UV": str(folder / "uv"), "HOME": str(folder),
        }  # fmt: skip

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(self.folder / "rehearse"), *arguments],
            env={**self.environment, **environment}, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def run(self, *arguments: str, **environment: str) -> tuple[int, str, str]:
        """Exit code, standard output, standard error."""
        with self.start(*arguments, **environment) as process:
            out, err = process.communicate(timeout=30)
        return process.returncode, out, err

    def count(self, request: str) -> int:
        """How often this was asked of Python or uv."""
        return self.journal.read_text().count(request) if self.journal.exists() else 0


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return Clone(tmp_path)


def test_the_first_start_sets_up_and_then_runs_the_main_job(clone: Clone) -> None:
    """Two words after git clone: ./rehearse."""
    code, out, err = clone.run()
    assert (code, out) == (0, "rehearse run\n")
    assert "rehearse: set-up done in" in err
    pins = "--constraints constraints.txt --build-constraints constraints.txt"
    assert clone.count(f"uv pip install {pins} --editable .[containers,dev,kind,kubernetes]") == 1


def test_the_second_start_sets_up_nothing(clone: Clone) -> None:
    """Neither Python nor uv is asked anything."""
    clone.run()
    clone.journal.unlink()
    assert clone.run("status", "--json") == (0, "rehearse status --json\n", "")
    assert not clone.journal.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["test", "-e", "unit"], "tox run -e unit\n"),
        (["exec", "printf", "%s", "a b"], "a b"),
        (["-h"], "rehearse -h\n"),
    ],
)
def test_the_first_word_chooses_the_program(clone: Clone, arguments: list[str], said: str) -> None:
    """`test` is tox, `exec` is any program, all else is the command line."""
    assert clone.run(*arguments)[1] == said


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_changed_pins_are_installed_into_the_environment_that_is_there(clone: Clone, name: str) -> None:
    """After git pull the environment is brought up to date, and its compiled bytecode is kept."""
    clone.run()
    with (clone.folder / name).open("a") as file:
        file.write("# changed\n")
    clone.run()
    assert (clone.count("python -m venv"), clone.count("uv pip install")) == (1, 2)


def test_an_interrupted_set_up_begins_afresh(clone: Clone) -> None:
    """What was half installed is not trusted."""
    assert clone.run(UV_CODE="1")[0] == 1
    half = clone.venv / "half-a-package"
    half.write_text("")
    assert clone.run()[0] == 0
    assert clone.count("python -m venv") == 2
    assert not half.exists()


def test_a_failed_installation_is_a_line_that_says_how_to_go_on(clone: Clone) -> None:
    """The exit code is 1, and the main job is not started on half an environment."""
    code, out, err = clone.run(UV_CODE="1")
    assert (code, out) == (1, "")
    assert err.splitlines()[-1] == (
        "rehearse: the packages could not be installed (above). Run the same command again to go on."
    )


def test_a_moved_clone_gets_an_environment_of_its_own(clone: Clone) -> None:
    """The programs of an environment carry its path; moved, they would not start."""
    clone.run()
    moved = clone.folder.rename(clone.folder.with_name("moved"))
    clone.folder = moved
    assert clone.run()[0] == 0
    assert clone.count("python -m venv") == 2


def test_somebody_elses_environment_is_left_alone(clone: Clone) -> None:
    """A .venv that ./rehearse did not make is neither changed nor removed."""
    clone.venv.mkdir()
    (clone.venv / "mine").write_text("precious")
    code, _, err = clone.run()
    assert code == 2
    assert "was not made by ./rehearse. Move it away, or name another folder in REHEARSAL_VENV." in err
    assert [path.name for path in clone.venv.iterdir()] == ["mine"]


def test_another_folder_can_be_named(clone: Clone, tmp_path: Path) -> None:
    """REHEARSAL_VENV, for a clone on a slow or read-only disk."""
    other = tmp_path / "elsewhere/venv"
    assert clone.run(REHEARSAL_VENV=str(other))[0] == 0
    assert (other / "bin/rehearse").exists()
    assert not clone.venv.exists()


def test_without_a_fit_python_one_line_says_what_to_install(clone: Clone) -> None:
    """Exit code 2, and nothing is left behind."""
    code, _, err = clone.run(PYTHON_CODE="1")
    assert code == 2
    assert "Hint: apt-get install python3 python3-venv, or name one in REHEARSAL_PYTHON." in err
    assert not clone.venv.exists()


def test_two_starts_at_once_make_one_environment(clone: Clone) -> None:
    """The second waits for the first, and then finds all ready."""
    with clone.start("status", VENV_SLOWNESS="0.5") as first, clone.start("status", VENV_SLOWNESS="0.5") as second:
        said = [process.communicate(timeout=30) for process in (first, second)]
    assert [out for out, _ in said] == ["rehearse status\n"] * 2
    assert clone.count("python -m venv") == 1
    assert sum("waiting for another set-up" in err for _, err in said) == 1


def test_uv_is_told_what_pip_is_configured_with(clone: Clone, tmp_path: Path) -> None:
    """A machine behind a mirror configures pip; uv does not read that by itself."""
    pip = f"global.index-url='https://mirror.example/simple'\n:env:.cert='/ca.pem'\nglobal.find-links='{tmp_path}'\n"
    clone.run(PIP_CONFIG=pip)
    assert clone.count(f"index=https://mirror.example/simple links={tmp_path} cert=/ca.pem") == 1


def test_uvs_own_variables_win_over_pips_configuration(clone: Clone) -> None:
    """Whoever configured uv meant it; a folder of wheels that does not exist is left out."""
    pip = "global.index-url='https://mirror.example/simple'\nglobal.find-links='/no/such/folder'\n"
    clone.run(PIP_CONFIG=pip, UV_DEFAULT_INDEX="https://own.example/simple")
    assert clone.count("index=https://own.example/simple links= ") == 1


def test_programs_compile_their_bytecode(clone: Clone) -> None:
    """PYTHONDONTWRITEBYTECODE would make every process start three times slower."""
    out = clone.run("exec", "env", PYTHONDONTWRITEBYTECODE="1")[1]
    assert "PYTHONDONTWRITEBYTECODE" not in out
    assert f"VIRTUAL_ENV={clone.venv}" in out


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="shellcheck is not installed (apt-get install shellcheck)")
def test_the_scripts_pass_shellcheck() -> None:
    """The two shell scripts of the project."""

    done = subprocess.run(
        ["shellcheck", "rehearse", ".ci/run"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")
