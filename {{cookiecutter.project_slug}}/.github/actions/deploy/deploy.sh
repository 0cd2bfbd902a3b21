#!/usr/bin/env bash
# Brings $DIGEST into $ENVIRONMENT: attestation, terraform apply, smoke suite. An empty $DIGEST means the one before the
# present one. Whatever fails after the apply has begun, the environment goes back to the last digest that was good there.
set -euo pipefail

stack=terraform/aws/environments/$ENVIRONMENT
# The digests that passed the smoke suite in this environment are the versions of this parameter.
record=/release/$(jq --raw-output .name ops/project.json)/$ENVIRONMENT/image-digest

say() { tee -a "$GITHUB_STEP_SUMMARY" <<< "$ENVIRONMENT: $*"; }
fail() {
  echo "::error::$ENVIRONMENT: $*"
  echo "$ENVIRONMENT: $*" >> "$GITHUB_STEP_SUMMARY"
  exit 1
}

passed() {
  local answer
  if answer=$(aws ssm get-parameter-history --name "$record" --query 'Parameters[].Value' --output json 2>&1); then
    echo "$answer"
  elif [[ $answer == *ParameterNotFound* ]]; then
    echo '[]'
  else
    echo "$answer" >&2
    return 1
  fi
}

verify() {
  [[ $1 =~ ^sha256:[0-9a-f]{64}$ ]] || fail "digest '$1' is not sha256: and 64 hex digits; copy it from a release run's summary"
  aws ecr get-login-password | docker login --username AWS --password-stdin "${ECR_REPOSITORY_URL%%/*}"
  gh attestation verify "oci://$ECR_REPOSITORY_URL@$1" --repo "$GITHUB_REPOSITORY" \
    --signer-workflow "$GITHUB_REPOSITORY/.github/workflows/release.yml" --source-ref refs/heads/main ||
    fail "$1 has no attestation of this repository's release workflow on main; nothing was changed"
}

# A cancelled job signals this script alone. Terraform has to hear of it, or it is killed later with its state locked.
stopped=
apply() {
  local terraform status
  set -m # without it a shell starts what is in the background deaf to SIGINT
  TF_VAR_image_digest=$1 terraform -chdir="$stack" apply -input=false -auto-approve -lock-timeout=5m &
  terraform=$!
  set +m
  trap 'stopped=yes; kill -INT "$terraform"' INT
  trap '' TERM
  while true; do # the signal also ends the wait
    status=0
    wait "$terraform" || status=$?
    kill -0 "$terraform" 2> /dev/null || break
  done
  trap - INT TERM
  [ -z "$stopped" ] || fail "cancelled during the apply; see what runs with 'terraform plan' in $stack, then release again or roll back"
  return "$status"
}

smoke() {
  local url
  url=$(terraform -chdir="$stack" output -raw service_url) && make smoke URL="$url"
}

# A lock file that the team has committed is obeyed, never rewritten.
[ ! -e "$stack/.terraform.lock.hcl" ] || export TF_CLI_ARGS_init=-lockfile=readonly
terraform -chdir="$stack" init -input=false -backend-config="bucket=$TF_STATE_BUCKET" -backend-config="region=$AWS_REGION"
good=$(passed)
if [ -z "$DIGEST" ]; then
  running=$(terraform -chdir="$stack" output -raw image_digest)
  DIGEST=$(jq --exit-status --raw-output --arg running "$running" 'map(select(. != $running)) | last // empty' <<< "$good") ||
    fail "no digest was good here before $running; start the workflow with the digest to go to"
fi

verify "$DIGEST"
if apply "$DIGEST" && smoke; then
  aws ssm put-parameter --name "$record" --value "$DIGEST" --type String --overwrite
  say "$DIGEST is live, its smoke suite passed."
  exit
fi

back=$(jq --exit-status --raw-output 'last // empty' <<< "$good") ||
  fail "$DIGEST failed and no digest was good here before; it is still live"
[ "$back" != "$DIGEST" ] || fail "$DIGEST failed, and it is the last good one; start the rollback workflow with another digest"
if apply "$back" && smoke; then
  fail "$DIGEST failed; went back to $back, which passed its smoke suite"
fi
fail "$DIGEST failed, and so did $back, which is live now; start the rollback workflow with another digest"
