# What outlives every release: state, data, registry, a platform per environment. Applied by an administrator.
terraform {
  required_version = ">= 1.11"
  required_providers { aws = { source = "hashicorp/aws", version = "~> 6.0" } }
  backend "s3" {
    key          = "bootstrap.tfstate"
    use_lockfile = true
  }
}

provider "aws" {
  default_tags { tags = { project = local.name } }
}

# the account's default VPC when not given; any other needs a public subnet in each of two or more zones
variable "vpc_id" { default = null }
# by environment, the ACM certificate and the host name it is for; plain HTTP where not given.
variable "https" {
  type    = map(object({ certificate_arn = string, host = string }))
  default = {}
}

data "aws_caller_identity" "current" {}
data "aws_region" "current" {}

locals {
  project  = jsondecode(file("${path.module}/../../../ops/project.json"))
  name     = local.project.name
  account  = data.aws_caller_identity.current.account_id
  region   = data.aws_region.current.region
  image    = "${local.name}/service" # a name of one letter alone would be too short for a registry
  registry = "arn:aws:ecr:${local.region}:${local.account}:repository/${local.image}"
  # the account's number makes the name unique in the world; the slug stands second, as S3 forbids some beginnings
  buckets = { for use in ["tfstate", "data"] : use => "${use}-${local.name}-${local.account}" }
}

resource "aws_s3_bucket" "this" {
  #checkov:skip=CKV_AWS_18:CloudTrail has the access where an account needs it; a bucket of logs would ask for the next
  #checkov:skip=CKV_AWS_144:one region by design; versions cover mistakes
  #checkov:skip=CKV2_AWS_61:data and state leave by somebody's decision, not by age
  #checkov:skip=CKV2_AWS_62:nothing listens to this bucket
  for_each = local.buckets
  bucket   = each.value
  lifecycle { prevent_destroy = true }
}

resource "aws_s3_bucket_versioning" "this" {
  for_each = aws_s3_bucket.this
  bucket   = each.value.id
  versioning_configuration { status = "Enabled" }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "this" {
  for_each = aws_s3_bucket.this
  bucket   = each.value.id
  rule {
    bucket_key_enabled = true
    apply_server_side_encryption_by_default { sse_algorithm = "aws:kms" }
  }
}

resource "aws_s3_bucket_public_access_block" "this" {
  for_each                = aws_s3_bucket.this
  bucket                  = each.value.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_policy" "tls_only" {
  for_each = local.buckets
  bucket   = aws_s3_bucket.this[each.key].id
  policy = jsonencode({ Version = "2012-10-17", Statement = [{
    Effect    = "Deny", Principal = "*", Action = "s3:*", Resource = ["arn:aws:s3:::${each.value}", "arn:aws:s3:::${each.value}/*"]
    Condition = { Bool = { "aws:SecureTransport" = "false" } }
  }] })
}

resource "aws_ecr_repository" "service" {
  #checkov:skip=CKV_AWS_136:encrypted with AES-256; a key of its own is no boundary inside one account
  name                 = local.image
  image_tag_mutability = "IMMUTABLE"
  image_scanning_configuration { scan_on_push = true }
}

module "platform" {
  for_each    = toset(["staging", "production"])
  source      = "../modules/platform"
  name        = local.name
  environment = each.key
  vpc_id      = var.vpc_id
  https       = lookup(var.https, each.key, null)
  data_bucket = "arn:aws:s3:::${local.buckets["data"]}"
  registry    = local.registry
}

output "service_urls" { value = { for name, platform in module.platform : name => platform.url } }
