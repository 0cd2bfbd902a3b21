mock_provider "aws" {
  mock_data "aws_ecr_repository" { defaults = { repository_url = "registry/service", registry_id = "123456789012" } }
}

variables {
  environment  = "staging"
  api_keys     = ["smoke:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"]
  image_digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
  size         = { cpu = 512, memory = 1024, tasks = 1 }
}

run "the_digest_runs_and_a_bad_one_goes_back" {
  assert {
    condition     = jsondecode(aws_ecs_task_definition.service.container_definitions)[0].image == "registry/service@${var.image_digest}" && output.image_digest == var.image_digest
    error_message = "The service does not run the image by its digest."
  }
  assert {
    condition     = aws_ecs_service.service.wait_for_steady_state && aws_ecs_service.service.deployment_minimum_healthy_percent == 100 && alltrue([for b in aws_ecs_service.service.deployment_circuit_breaker : b.enable && b.rollback])
    error_message = "A bad image would not be taken back."
  }
}

run "a_tag_is_refused" {
  command = plan
  variables { image_digest = "latest" }
  expect_failures = [var.image_digest]
}

run "a_key_is_refused_that_is_no_hash" {
  command = plan
  variables { api_keys = ["smoke:secret"] }
  expect_failures = [var.api_keys]
}
