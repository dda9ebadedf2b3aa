"""Each gate of tools/ is seen to fail on a planted defect, and to pass without it."""
import importlib.machinery
import importlib.util
import os
import shutil
import subprocess
import sys

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

CMAKE = """foreach(module
    base
    crypto net
    keys
    store)
endforeach()
"""


def put(root, path, text):
    full = os.path.join(root, path)
    os.makedirs(os.path.dirname(full), exist_ok=True)
    with open(full, "w", encoding="utf-8") as f:
        f.write(text)


def script_module(path):
    """A script without the .py ending, as a module, leaving no compiled file behind."""
    sys.dont_write_bytecode = True
    name = os.path.basename(path).replace("-", "_") + "_script"
    loader = importlib.machinery.SourceFileLoader(name, os.path.join(ROOT, path))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
    loader.exec_module(module)
    return module


@pytest.fixture
def tree(tmp_path):
    """A small, faultless project: base, crypto, keys, store."""
    root = str(tmp_path / "project")
    put(root, "CMakeLists.txt", CMAKE)
    for name, deps in (("base", ""), ("crypto", ""), ("keys", " DEPS crypto"), ("store", " DEPS keys crypto")):
        put(root, f"src/{name}/CMakeLists.txt", f"coffer_module({name}{deps})\n")
        put(root, f"src/{name}/pub/{name}/{name}.h", f"int {name}_one(void);\n")
        put(root, f"src/{name}/{name}.c",
            f'#include "{name}/{name}.h"\n\nint {name}_one(void)\n{{\n    return 1;\n}}\n')
    return root


def gate(name, *args):
    done = subprocess.run([os.path.join(ROOT, "tools", name), *args],
                          capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_faultless_tree_passes(tree):
    for name in ("link-graph", "banned", "lengths"):
        assert gate(name, tree) == (0, "")


LINK_DEFECTS = {
    "upward dependency":
        ("src/crypto/CMakeLists.txt", "coffer_module(crypto DEPS store)\n", "stands later"),
    "unknown module":
        ("src/keys/CMakeLists.txt", "coffer_module(keys DEPS crypto nowhere)\n", "no such module"),
    "link behind the gate's back":
        ("src/crypto/CMakeLists.txt",
         "coffer_module(crypto)\ntarget_link_libraries(crypto PRIVATE store)\n", "linked through DEPS"),
    "header of a module not linked":
        ("src/keys/keys.c", '#include "store/store.h"\n', "not in DEPS of keys"),
    "climbing include":
        ("src/store/store.c", '#include "../keys/keys_priv.h"\n', "climbs"),
    "OpenSSL outside crypto and net":
        ("src/store/store.c", "#include <openssl/evp.h>\n", "belongs to crypto, net"),
    "RocksDB outside store":
        ("src/keys/keys.cc", "#include <rocksdb/db.h>\n", "belongs to store"),
    "program on a module that is not there":
        ("src/prog/x/CMakeLists.txt", "coffer_program(x SOURCES x.c DEPS gone)\n", "no such module"),
}


@pytest.mark.parametrize("defect", LINK_DEFECTS)
def test_link_graph_refuses(tree, defect):
    path, text, message = LINK_DEFECTS[defect]
    put(tree, path, text)
    code, out = gate("link-graph", tree)
    assert code == 1
    assert message in out


BANNED_DEFECTS = {
    "strcpy": ("src/keys/k.c", "void f(char *a, char *b) { strcpy(a, b); }\n"),
    "sprintf": ("src/keys/k.c", "void f(char *a) { sprintf(a, \"%d\", 1); }\n"),
    "gets": ("src/keys/k.c", "void f(char *a) { gets(a); }\n"),
    "atoi": ("src/keys/k.c", "int f(char *a) { return atoi(a); }\n"),
    "memcmp on a tag": ("src/crypto/c.c", "int f(void) { return memcmp(tag, want_tag, 16); }\n"),
    "strcmp on a password": ("src/identity/i.c", "int f(void) { return strcmp(password, given); }\n"),
    "printf in a library": ("src/store/s.c", "void f(void) { printf(\"hello\"); }\n"),
    "stderr in a library": ("src/store/s.c", "void f(void) { fprintf(stderr, \"hello\"); }\n"),
    "system": ("src/prog/p/p.c", "void f(void) { system(\"rm\"); }\n"),
    "localtime": ("src/base/b.c", "void f(time_t *t) { localtime(t); }\n"),
    "unfinished work": ("src/base/b.c", "/* " + "TO" + "DO: later */\n"),
}


@pytest.mark.parametrize("defect", BANNED_DEFECTS)
def test_banned_refuses(tree, defect):
    put(tree, *BANNED_DEFECTS[defect])
    assert gate("banned", tree)[0] == 1


INNOCENT = {
    "in a comment": ("src/keys/k.c", "/* never strcpy(a, b) here, it's unbounded */\n"),
    "in a string": ("src/keys/k.c", 'const char *s = "system(1)";\n'),
    "snprintf": ("src/keys/k.c", "void f(char *a) { snprintf(a, 1, \"x\"); }\n"),
    "memcmp on public bytes": ("src/crypto/c.c", "int f(void) { return memcmp(magic, want, 4); }\n"),
    "printf in a program": ("src/prog/p/p.c", "void f(void) { printf(\"hello\"); }\n"),
    "excused": ("src/keys/k.c", "void f(void) { system(a); } /* banned-ok: the test of this gate */\n"),
}


@pytest.mark.parametrize("case", INNOCENT)
def test_banned_accepts(tree, case):
    put(tree, *INNOCENT[case])
    assert gate("banned", tree) == (0, "")


def test_lengths(tree):
    long_function = "int keys_long(void)\n{\n" + "    x();\n" * 160 + "}\n"
    put(tree, "src/keys/long.c", long_function)
    code, out = gate("lengths", tree)
    assert code == 1 and "keys_long() has 162 lines" in out
    put(tree, "src/keys/long.c", "int a;\n" * 1100)
    code, out = gate("lengths", tree)
    assert code == 1 and "1101 lines" in out
    put(tree, "src/keys/long.c", "int a;\n" * 900)
    code, out = gate("lengths", tree)
    assert code == 0 and "note: " in out


def test_format(tmp_path):
    good = tmp_path / "good.c"
    good.write_text("int f(int a)\n{\n    return a;\n}\n")
    bad = tmp_path / "bad.c"
    bad.write_text("int f(int a) {\n  return a; }\n")
    assert gate("fmt", "--check", str(good)) == (0, "")
    assert gate("fmt", "--check", str(bad))[0] == 1
    assert gate("fmt", str(bad))[0] == 0
    assert bad.read_text() == good.read_text()


def test_format_lifts_a_comment_that_passes_the_last_column(tmp_path):
    path = tmp_path / "a.c"
    path.write_text("int some_function_of_a_name(int with, int arguments); "
                    "/* and a comment that is much too long to stand behind it */\n")
    gate("fmt", str(path))
    assert path.read_text().split("\n")[0].startswith("/* and a comment")
    assert path.read_text().split("\n")[1] == "int some_function_of_a_name(int with, int arguments);"


def test_symbols(tree, tmp_path):
    build = str(tmp_path / "b")

    def library(text):
        folder = os.path.join(build, "src/keys")
        os.makedirs(folder, exist_ok=True)
        put(build, "src/keys/x.c", text)
        subprocess.run(["gcc", "-c", "x.c", "-o", "x.o"], cwd=folder, check=True)
        subprocess.run(["ar", "rcs", "libkeys.a", "x.o"], cwd=folder, check=True)

    library("int keys_one(void) { return 1; }\nstatic int hidden(void) { return 2; }\n"
            "int keys__two(void) { return hidden(); }\n")
    assert gate("symbols", build, tree) == (0, "")
    library("int open_ring(void) { return 1; }\n")
    code, out = gate("symbols", build, tree)
    assert code == 1 and "exports open_ring" in out


def test_symbols_without_a_build_fails(tree, tmp_path):
    assert gate("symbols", str(tmp_path), tree)[0] == 1


def test_clean_tree(tmp_path):
    root = str(tmp_path / "r")
    put(root, "a", "1\n")

    def git(*args):
        subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@example.invalid", *args],
                       cwd=root, check=True, capture_output=True)

    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "a")
    assert gate("clean-tree", root) == (0, "")
    put(root, "left-behind.o", "x")
    code, out = gate("clean-tree", root)
    assert code == 1 and "left-behind.o" in out
    put(str(tmp_path), "before", "?? left-behind.o\n")
    assert gate("clean-tree", root, str(tmp_path / "before"))[0] == 0
    put(root, "package-lock.json", '{"resolved": "https://' + 'registry.example.invalid/a.tgz"}\n')
    git("add", ".")
    git("commit", "-qm", "b")
    code, out = gate("clean-tree", root)
    assert code == 1 and "lock file" in out


def test_lint_finds_a_planted_defect(tmp_path):
    root = str(tmp_path)
    os.makedirs(os.path.join(root, "tools"))
    shutil.copy(os.path.join(ROOT, "tools/lint"), os.path.join(root, "tools/lint"))
    shutil.copy(os.path.join(ROOT, ".clang-tidy"), root)
    os.symlink(os.path.join(ROOT, ".venv"), os.path.join(root, ".venv"))
    source = os.path.join(root, "src/a.c")
    put(root, "build/compile_commands.json",
        '[{"directory": "%s", "file": "%s", "command": "cc -c %s"}]' % (root, source, source))

    def lint():
        return subprocess.run([sys.executable, "tools/lint", "src/a.c"], cwd=root,
                              capture_output=True, text=True, check=False)

    put(root, "src/a.c", "int f(int a)\n{\n    return a;\n}\n")
    assert lint().returncode == 0
    put(root, "src/a.c", "#define TWICE(x) x * 2\n\nint f(int a)\n{\n    return TWICE(a + 1);\n}\n")
    done = lint()
    assert done.returncode == 1 and "bugprone-macro-parentheses" in done.stdout


PLANTED = """#include <stddef.h>
#include <stdint.h>
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    char small[4] = { 0 };
    for (size_t i = 0; i < n && %s; i++)
        ((volatile char *)small)[i] = (char)p[i];
    return 0;
}
"""


MATRIX = """# cases

| # | case | test |
|---|---|---|
| 1 | first | `keys/test_one.c: a_case`, `another`; `part/test_two.py: test_three[yes]`, `test_f*` |
| 2, 3 | second | no test: nothing is there to be tested |
| 4 to 59 | many | `part/test_two.py: test_three` |
| | unnumbered, as `key set` | `some-setting`: `part/test_two.py: test_four` |

Waiting: 60 (replicas)
"""
MATRIX_DEFECTS = {
    "a test in C that is gone": ("`another`", "`yet_another`", "no test yet_another in keys/test_one.c"),
    "one that is not registered": ("a_case", "forgotten", "no test forgotten in keys/test_one.c"),
    "a test in Python that is gone": ("test_three[", "test_five[", "no test test_five in part/test_two.py"),
    "a file that is gone": ("keys/test_one.c", "keys/test_none.c", "no file of tests keys/test_none.c"),
    "a parameter that is gone": ("[yes]", "[no]", "no parameter no"),
    "no test and no reason": ("no test: nothing is there to be tested", "later", "case 2, 3 has neither"),
    "a name without a file": ("`part/test_two.py: test_three` |", "`test_three` |", "`test_three`: of which file?"),
    "a case that is forgotten": ("4 to 59", "4 to 58", "nothing is said of 59"),
    "one that waits for nothing": ("60 (replicas)", "", "nothing is said of 60"),
}


@pytest.fixture
def matrix(tmp_path):
    root = str(tmp_path)
    put(root, "docs/custody-matrix.md", MATRIX)
    put(root, "src/keys/t/test_one.c", "static void a_case(void **state)\n{\n}\nstatic void another(void **s)\n{\n}\nstatic void forgotten(void **s)\n{\n}\n"
        "int main(void)\n{\n    run(a_case);\n    run(another);\n}\n")
    put(root, "tests/part/test_two.py", "def test_three(yes):\n    pass\n\n\ndef test_four():\n    pass\n")
    return root


def test_matrix_accepts(matrix):
    assert gate("matrix", matrix) == (0, "")


@pytest.mark.parametrize("defect", MATRIX_DEFECTS)
def test_matrix_refuses(matrix, defect):
    old, new, message = MATRIX_DEFECTS[defect]
    assert old in MATRIX
    put(matrix, "docs/custody-matrix.md", MATRIX.replace(old, new))
    code, out = gate("matrix", matrix)
    assert code == 1
    assert message in out


@pytest.mark.parametrize("bound, passes", [("i < 4", True), ("i < 9", False)])
def test_fuzz_net_holds(tmp_path, bound, passes):
    """A target that writes past its buffer is caught and its input kept; the sound one runs."""
    put(str(tmp_path), "fuzz_planted.c", PLANTED % bound)
    subprocess.run(["clang", "-O1", "-g", "-fsanitize=fuzzer,address,undefined", "fuzz_planted.c",
                    "-o", "planted"], cwd=tmp_path, check=True)
    fuzz = script_module("tools/fuzz")
    ok, line = fuzz.run_one(str(tmp_path / "planted"), "planted", 2, str(tmp_path / "work"),
                            str(tmp_path / "none"))
    assert ok == passes, line
    if not passes:
        assert "stack-buffer-overflow" in line and "replay: " in line


def test_a_stage_that_fails_without_a_failing_case_counts(tmp_path):
    runner = script_module("scripts/test-all")
    assert runner.with_exit((0, 0, 0), 5) == (0, 1, 0)
    assert runner.with_exit((3, 1, 0), 1) == (3, 1, 0)
    put(str(tmp_path), "j.xml", '<testsuite><testcase name="a"/><testcase name="b"><failure/></testcase>'
        '<testcase name="c"><skipped/></testcase><testcase name="d" status="fail"/></testsuite>')
    assert runner.junit(str(tmp_path / "j.xml")) == (1, 2, 1)
