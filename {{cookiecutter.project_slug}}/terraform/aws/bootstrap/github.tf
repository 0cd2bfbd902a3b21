# Who may sign in from GitHub, without a stored key: jobs of this repository alone, each with its own role.
variable "github_subjects" {
  description = "The beginnings of this repository's subjects in GitHub's tokens; README.md, step 3, has the command that asks GitHub."
  type        = list(string)
  default     = null
  validation {
    condition = alltrue([for subject in coalesce(var.github_subjects, []) :
    replace(subject, "/@[0-9]+/", "") == "repo:${local.project.repository}"])
    error_message = "github_subjects may name only repo:${local.project.repository}, with or without @ids: it is the repository in ops/project.json."
  }
}

# false where the account trusts GitHub already: an account has one such provider
variable "create_oidc_provider" { default = true }

locals {
  issuer = "token.actions.githubusercontent.com"
  state  = "arn:aws:s3:::${local.buckets["tfstate"]}"
  pull   = ["ecr:BatchGetImage", "ecr:BatchCheckLayerAvailability", "ecr:GetDownloadUrlForLayer", "ecr:DescribeImages"]
  push   = ["ecr:InitiateLayerUpload", "ecr:UploadLayerPart", "ecr:CompleteLayerUpload", "ecr:PutImage"]
  log_in = { Effect = "Allow", Action = ["ecr:GetAuthorizationToken"], Resource = "*" }

  github_roles = merge(
    { build = { claim = "ref:refs/heads/main", duties = [local.log_in, { Effect = "Allow", Action = concat(local.pull, local.push), Resource = local.registry }] } },
    { for name, platform in module.platform : name => { claim = "environment:${name}", duties = concat([
      local.log_in,
      { Effect = "Allow", Action = concat(local.pull, ["ecr:DescribeRepositories", "ecr:ListTagsForResource"]), Resource = local.registry },
      { Effect = "Allow", Action = ["s3:ListBucket"], Resource = local.state },
      { Effect = "Allow", Action = ["s3:GetObject", "s3:PutObject"], Resource = "${local.state}/${name}.tfstate" },
      { Effect = "Allow", Action = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"], Resource = "${local.state}/${name}.tfstate.tflock" },
    ], platform.release_duties) } },
  )
}

resource "aws_iam_openid_connect_provider" "github" {
  count          = var.create_oidc_provider ? 1 : 0
  url            = "https://${local.issuer}"
  client_id_list = ["sts.amazonaws.com"]
}

resource "aws_iam_role" "github" {
  for_each = local.github_roles
  name     = "${local.name}-github-${each.key}"
  assume_role_policy = jsonencode({ Version = "2012-10-17", Statement = [{
    Effect    = "Allow", Action = "sts:AssumeRoleWithWebIdentity"
    Principal = { Federated = "arn:aws:iam::${local.account}:oidc-provider/${local.issuer}" }
    Condition = { StringEquals = {
      "${local.issuer}:aud" = "sts.amazonaws.com"
      "${local.issuer}:sub" = [for subject in coalesce(var.github_subjects, ["repo:${local.project.repository}"]) : "${subject}:${each.value.claim}"]
    } }
  }] })
  depends_on = [aws_iam_openid_connect_provider.github]
}

resource "aws_iam_role_policy" "github" {
  for_each = local.github_roles
  role     = aws_iam_role.github[each.key].name
  policy   = jsonencode({ Version = "2012-10-17", Statement = each.value.duties })
}

# The variables of the GitHub repository, as lines that `gh variable set --env-file` reads.
output "github_variables" {
  value = join("\n", [for key, value in merge(
    { AWS_REGION = local.region, TF_STATE_BUCKET = local.buckets["tfstate"], ECR_REPOSITORY_URL = aws_ecr_repository.service.repository_url },
    { for name, role in aws_iam_role.github : "AWS_${upper(name)}_ROLE_ARN" => role.arn },
  ) : "${key}=${value}"])
}
