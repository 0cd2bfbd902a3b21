#!/bin/sh
# Make the git repository and its first commit, unless this folder already is the top of one.
# DVC needs a repository, and a later update of the template merges with what was committed
# as it was generated.
set -eu

top=$(git rev-parse --show-toplevel 2>/dev/null || true)
if [ -n "$top" ] && [ "$(cd "$top" && pwd -P)" != "$(pwd -P)" ]; then
  echo "This folder is inside the repository $top, so none is made here." >&2
  exit 0
fi
if [ -n "$top" ] && git rev-parse --quiet --verify HEAD >/dev/null; then
  exit 0
fi

[ -n "$top" ] || git init --quiet --initial-branch=main
# A user's own ignore file, hooks and signing may not change or stop this one commit.
set -- -c core.excludesFile=/dev/null -c core.hooksPath=/dev/null -c commit.gpgsign=false
note=""
if ! git var GIT_COMMITTER_IDENT >/dev/null 2>&1 || ! git var GIT_AUTHOR_IDENT >/dev/null 2>&1; then
  set -- "$@" -c user.name="Project template" -c user.email="template@localhost"
  note=", by \"Project template\" as git knows no name and e-mail of yours (git config user.name)"
fi
if [ "$(git config --type=bool commit.gpgsign 2>/dev/null || true)" = true ]; then
  note="$note, unsigned although signing is on"
fi
git "$@" add --all
git "$@" commit --quiet --message "Project as the template generated it"
echo "Made the git repository and its first commit$note." >&2
