#!/bin/sh
# Take over a newer version of the template: the newest tag, or TO. Own changes are merged; what
# cannot be merged is listed, and the exit code says so (cruft itself ends with 0).
set -eu

uv=${UV:-uv}
# cruft 2.16.0, the newest, crashes with typer 0.26 and later when it asks.
cruft() { "$uv" tool run --quiet --with 'typer<0.26' cruft@2.16.0 "$@"; }

[ -e .cruft.json ] || {
  echo "update: .cruft.json is missing, so the template is not known; make the project again from a git repository" >&2
  exit 1
}
[ -z "$(git status --porcelain)" ] || {
  echo "update: there are uncommitted changes; commit or stash them first (git status)" >&2
  exit 1
}
template=$("$uv" run --no-project python -c 'import json; print(json.load(open(".cruft.json", encoding="utf-8"))["template"])')
to=${TO:-$(git ls-remote --tags --refs --sort=-version:refname "$template" 'v*' | sed -n '1s#.*refs/tags/##p')}
echo "update: from $template, ${to:-the default branch}" >&2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
cruft update --skip-apply-ask ${to:+--checkout "$to"} >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
cat "$log" >&2

# Git marks what it could merge in part; what it could not apply at all is only in its messages.
conflicts=$({
  git diff --name-only --diff-filter=U
  git ls-files --others '*.rej'
  git ls-files --others --ignored --exclude-standard '*.rej'
  sed -n 's/^error: \(.*\): patch does not apply$/\1/p' "$log"
} | sort -u)
if [ -n "$conflicts" ]; then
  printf 'update: these need your hand, since both sides changed them:\n%s\n' "$conflicts" >&2
  exit 1
fi
echo "update: merged; read it (git diff HEAD), run make test, and commit" >&2
