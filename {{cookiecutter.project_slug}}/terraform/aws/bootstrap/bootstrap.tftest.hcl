mock_provider "aws" {
  mock_data "aws_caller_identity" { defaults = { account_id = "123456789012" } }
  mock_data "aws_region" { defaults = { region = "eu-west-1" } }
}

run "nothing_is_public_or_can_be_overwritten" {
  command = plan # an applied bucket would refuse to be removed
  assert {
    condition     = alltrue([for b in aws_s3_bucket_public_access_block.this : b.block_public_acls && b.block_public_policy && b.ignore_public_acls && b.restrict_public_buckets])
    error_message = "A bucket could become public."
  }
  assert {
    condition     = aws_ecr_repository.service.image_tag_mutability == "IMMUTABLE" && alltrue([for v in aws_s3_bucket_versioning.this : v.versioning_configuration[0].status == "Enabled"])
    error_message = "An image's tag or a bucket's object could be overwritten."
  }
}

run "another_repository_is_refused" {
  command = plan
  variables { github_subjects = ["repo:somebody/else"] }
  expect_failures = [var.github_subjects]
}
