"""The reference of what ``dpm doctor`` looks at, written from the checks themselves.

python -m dpm_cli.doctor_reference > docs/reference/doctor.md
"""

from dpm_cli.doctor import checks

_HEAD = """# `dpm doctor`

<!-- Written by `python -m dpm_cli.doctor_reference`; a test holds it to the code. -->

`dpm doctor` looks for what is missing or wrong on this machine, and says how to mend it. It changes nothing, works
whether the node runs or not, and asks everything at once, each check for a limited time.

| level | meaning |
|---|---|
| `ok` | All is well. |
| `info` | Worth knowing, nothing to mend. |
| `skipped` | Nobody can say, because of something that another check tells of. |
| `warning` | The node works, but worse than it could. |
| `failed` | Something is missing or wrong. |

It ends with 0 unless a check has failed, then with 1; warnings are no failure. `dpm doctor --json` prints one
object: `version`, `home`, `well` (false if a check has failed) and `findings`, each with `code`, `title`, `level`,
`text` (what was seen) and `mend` (empty if there is nothing to mend). A check that does not answer in time, or
fails itself, is a finding like any other.

The codes are stable: one never changes its meaning. What the command prints is more exact than this table.

| code | what is looked at | how to mend it |
|---|---|---|
"""


def reference() -> str:
    """The page, as Markdown."""
    return _HEAD + "".join(f"| `{check.code}` | {check.title} | {check.mend} |\n" for check in checks())


if __name__ == "__main__":
    print(reference(), end="")
