# The service of one environment: one image, by digest, behind the load balancer that bootstrap made.
terraform {
  required_version = ">= 1.11"
  required_providers { aws = { source = "hashicorp/aws", version = "~> 6.0" } }
}

variable "image_digest" {
  type = string
  validation {
    condition     = can(regex("^sha256:[0-9a-f]{64}$", var.image_digest))
    error_message = "image_digest is '${var.image_digest}', not sha256: and 64 hexadecimal digits: take it from the release, a tag will not do."
  }
}

variable "environment" { type = string }
variable "api_keys" {
  type = list(string)
  validation {
    condition     = length(var.api_keys) > 0 && alltrue([for key in var.api_keys : can(regex("^[A-Za-z0-9._-]{1,100}:[0-9a-f]{64}$", key))])
    error_message = "api_keys of ops/project.json needs an entry for this environment at least, each as `make key NAME=smoke` prints it: without one the service does not start."
  }
}
variable "size" { type = object({ cpu = number, memory = number, tasks = number }) }

data "aws_region" "current" {}
data "aws_ecr_repository" "service" { name = "${local.name}/service" }
data "aws_lb" "this" { name = local.short }
data "aws_lb_target_group" "this" { name = local.short }
data "aws_security_group" "service" {
  name   = "${local.short}-service"
  vpc_id = data.aws_lb.this.vpc_id
}

locals {
  name  = jsondecode(file("${path.module}/../../../../ops/project.json")).name
  full  = "${local.name}-${var.environment}"
  short = "${var.environment}-${trim(substr(local.name, 0, 14), "-")}-${substr(sha1(local.name), 0, 6)}" # as in modules/platform
  log   = "/service/${local.name}/${var.environment}"
  role  = "arn:aws:iam::${data.aws_ecr_repository.service.registry_id}:role/${local.full}"
}

resource "aws_ecs_task_definition" "service" {
  family                   = local.full
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.size.cpu
  memory                   = var.size.memory
  execution_role_arn       = "${local.role}-execution"
  task_role_arn            = "${local.role}-task"
  skip_destroy             = true # the circuit breaker goes back to the revision before
  runtime_platform { cpu_architecture = "X86_64" }
  container_definitions = jsonencode([{
    name                   = "service"
    image                  = "${data.aws_ecr_repository.service.repository_url}@${var.image_digest}"
    readonlyRootFilesystem = true
    linuxParameters        = { capabilities = { drop = ["ALL"] } }
    stopTimeout            = 60
    portMappings           = [{ containerPort = data.aws_lb_target_group.this.port, protocol = "tcp" }]
    environment = [ # "-" is standard output: from there the predictions go to the data bucket
      { name = "PORT", value = tostring(data.aws_lb_target_group.this.port) }, { name = "PREDICTION_LOG", value = "-" },
      { name = "ENVIRONMENT", value = var.environment }, { name = "API_KEYS", value = join(" ", var.api_keys) }, # hashes, no secrets
    ]
    logConfiguration = { logDriver = "awslogs", options = {
      awslogs-group = local.log, awslogs-region = data.aws_region.current.region, awslogs-stream-prefix = "service"
    } }
  }])
}

resource "aws_ecs_service" "service" {
  #checkov:skip=CKV_AWS_333:public subnets need no NAT gateway; the security group lets in the load balancer alone
  name                               = local.name
  cluster                            = local.full
  task_definition                    = aws_ecs_task_definition.service.arn
  desired_count                      = var.size.tasks
  launch_type                        = "FARGATE"
  deployment_minimum_healthy_percent = 100
  health_check_grace_period_seconds  = 60
  wait_for_steady_state              = true
  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }
  network_configuration {
    subnets          = data.aws_lb.this.subnets
    security_groups  = [data.aws_security_group.service.id]
    assign_public_ip = true
  }
  load_balancer {
    target_group_arn = data.aws_lb_target_group.this.arn
    container_name   = "service"
    container_port   = data.aws_lb_target_group.this.port
  }
  lifecycle {
    postcondition { # steady is also a service that the circuit breaker took back to the image before
      condition     = self.task_definition == aws_ecs_task_definition.service.arn
      error_message = "The new image did not become healthy, and ECS went back to the one before: read the log group ${local.log}."
    }
  }
}

output "service_url" { value = coalesce(lookup(data.aws_lb.this.tags, "url", ""), "http://${data.aws_lb.this.dns_name}") }
output "image_digest" { value = var.image_digest }
