#!/usr/bin/env bash
# bids-validator: a line of `.bidsignore` with two stars in one part of a path, such as `*_slice*.png`, ignores nothing.
#
# What surprises: `.bidsignore` is said to be written as `.gitignore` is, and git ignores such a file by that line. The
# validator says nothing of the line and reports the file as NOT_INCLUDED. `*.png`, `*_slice001.png`, `*slice*` and
# `sub-*/anat/*_slice001.png` (a star in each part) do ignore it; question marks for the second star do, too.
#
# Who meets it: derivatives that keep pictures, reports or maps that BIDS has no name for beside valid files.
#
# Seen with bids-validator-deno 3.0.2 (deno 2.9.8), Python 3.11, git 2.39.5 on 2026-11-30. Exits 1 if the behaviour has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check bids-validator-deno==3.0.2 deno==2.9.8
export PATH="$folder/venv/bin:$PATH" NO_COLOR=1
bids-validator-deno --version
git --version

set=$folder/set
file=sub-01/anat/sub-01_desc-lesion_slice001.png
mkdir -p "$set/sub-01/anat"
printf '{"Name": "x", "BIDSVersion": "1.10.0", "DatasetType": "derivative", "GeneratedBy": [{"Name": "x"}]}\n' \
    > "$set/dataset_description.json"
printf 'a picture\n' > "$set/$file"
git init --quiet "$folder/git"

# ignored LINE: whether the validator leaves the picture out
ignored() {
    printf '%s\n' "$1" > "$set/.bidsignore"
    local report
    report=$(bids-validator-deno "$set" --json) || true # it exits with 1 where it finds a fault
    [[ $report == *'"issues"'* ]] || { echo "no report"; exit 1; }
    [[ $report != *NOT_INCLUDED* ]]
}
# by_git LINE: whether git does
by_git() {
    printf '%s\n' "$1" > "$folder/git/.gitignore"
    git -C "$folder/git" check-ignore --quiet "$file"
}

changed=0
# expect LINE ANSWER: what the validator is known to say
expect() {
    local said=no git=no
    if ignored "$1"; then said=yes; fi
    if by_git "$1"; then git=yes; fi
    printf '%-28s validator ignores: %-3s  git ignores: %s\n' "$1" "$said" "$git"
    if [ "$said" != "$2" ] || [ "$git" != yes ]; then changed=1; fi
}
expect '*_slice*.png' no
expect '**/*_slice*.png' no
expect '*.png' yes
expect '*_slice001.png' yes
expect '*_slice???.png' yes
expect '*slice*' yes
expect 'sub-*/anat/*_slice001.png' yes
exit "$changed"
