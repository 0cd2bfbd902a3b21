# The fixed parts of one environment: load balancer, cluster, logs, the prediction log's way to S3, the service's roles.
variable "name" { type = string }
variable "environment" { type = string }
variable "vpc_id" { type = string }
variable "https" { type = object({ certificate_arn = string, host = string }) }
variable "data_bucket" { type = string }
variable "registry" { type = string }

data "aws_caller_identity" "current" {}
data "aws_region" "current" {}

data "aws_vpc" "this" {
  id      = var.vpc_id
  default = var.vpc_id == null ? true : null
}

data "aws_subnets" "public" {
  filter {
    name   = "vpc-id"
    values = [data.aws_vpc.this.id]
  }
  filter {
    name   = "map-public-ip-on-launch"
    values = ["true"]
  }
}

locals {
  account = data.aws_caller_identity.current.account_id
  place   = "${data.aws_region.current.region}:${local.account}" # as ARNs have it
  full    = "${var.name}-${var.environment}"
  # a load balancer's name has 32 letters and may not begin with "internal-": environment, some of the name, a hash of all of it
  short  = "${var.environment}-${trim(substr(var.name, 0, 14), "-")}-${substr(sha1(var.name), 0, 6)}"
  log    = "/service/${var.name}/${var.environment}"
  stream = "arn:aws:firehose:${local.place}:deliverystream/${local.full}"
  port   = 8000
  open   = var.https == null ? 80 : 443 # one of the two: a caller with the wrong one should fail, not send its data in clear first

  roles = {
    task = { service = "ecs-tasks", duties = [] } # the service calls no AWS API
    execution = { service = "ecs-tasks", duties = [
      { Effect = "Allow", Action = ["ecr:GetAuthorizationToken"], Resource = "*" },
      { Effect = "Allow", Action = ["ecr:BatchGetImage", "ecr:BatchCheckLayerAvailability", "ecr:GetDownloadUrlForLayer"], Resource = var.registry },
      { Effect = "Allow", Action = ["logs:CreateLogStream", "logs:PutLogEvents"], Resource = "arn:aws:logs:${local.place}:log-group:${local.log}:*" },
    ] }
    log-feed = { service = "logs", duties = [{ Effect = "Allow", Action = ["firehose:PutRecord", "firehose:PutRecordBatch"], Resource = local.stream }] }
    log-delivery = { service = "firehose", duties = [
      { Effect = "Allow", Action = ["s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads"], Resource = var.data_bucket },
      { Effect = "Allow", Action = ["s3:PutObject", "s3:GetObject", "s3:AbortMultipartUpload"], Resource = "${var.data_bucket}/predictions/${var.environment}/*" },
    ] }
  }
}

resource "aws_iam_role" "this" {
  for_each = local.roles
  name     = "${local.full}-${each.key}"
  assume_role_policy = jsonencode({ Version = "2012-10-17", Statement = [{
    Effect    = "Allow", Action = "sts:AssumeRole", Principal = { Service = "${each.value.service}.amazonaws.com" }
    Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
  }] })
}

resource "aws_iam_role_policy" "this" {
  for_each = { for name, role in local.roles : name => role.duties if length(role.duties) > 0 }
  role     = aws_iam_role.this[each.key].name
  policy   = jsonencode({ Version = "2012-10-17", Statement = each.value })
}

resource "aws_cloudwatch_log_group" "service" {
  #checkov:skip=CKV_AWS_158:encrypted at rest by CloudWatch; a key of its own is no boundary inside one account
  #checkov:skip=CKV_AWS_338:the data bucket keeps the predictions; personal data should not stay here for a year
  name              = local.log
  retention_in_days = 30
}

resource "aws_kinesis_firehose_delivery_stream" "predictions" {
  #checkov:skip=CKV_AWS_241:encrypted with the service's own key; another one is no boundary inside one account
  name        = local.full
  destination = "extended_s3"
  server_side_encryption { enabled = true }
  extended_s3_configuration {
    role_arn           = aws_iam_role.this["log-delivery"].arn
    bucket_arn         = var.data_bucket
    prefix             = "predictions/${var.environment}/" # Firehose adds year/month/day/hour, in UTC
    compression_format = "GZIP"
    processing_configuration { # CloudWatch sends compressed batches in an envelope: back to the lines that the service wrote
      enabled = true
      processors { type = "Decompression" }
      processors {
        type = "CloudWatchLogProcessing"
        parameters {
          parameter_name  = "DataMessageExtraction"
          parameter_value = "true"
        }
      }
      processors { type = "AppendDelimiterToRecord" }
    }
  }
}

resource "aws_cloudwatch_log_subscription_filter" "predictions" {
  name            = "predictions"
  log_group_name  = aws_cloudwatch_log_group.service.name
  filter_pattern  = "{ $.prediction_id = \"*\" }"
  destination_arn = aws_kinesis_firehose_delivery_stream.predictions.arn
  role_arn        = aws_iam_role.this["log-feed"].arn
  depends_on      = [aws_iam_role_policy.this]
}

resource "aws_ecs_cluster" "this" {
  #checkov:skip=CKV_AWS_65:its metrics are paid for each, and the service has its own
  name = local.full
}

resource "aws_security_group" "this" {
  #checkov:skip=CKV2_AWS_5:the service's group is attached where the service is, in modules/service
  for_each    = { balancer = "Callers to the load balancer", service = "The load balancer to the service" }
  name        = "${local.short}-${each.key}"
  description = each.value
  vpc_id      = data.aws_vpc.this.id
}

resource "aws_vpc_security_group_ingress_rule" "this" {
  #checkov:skip=CKV_AWS_260:the service is public; narrow it here where it should not be
  for_each                     = { balancer = local.open, service = local.port }
  security_group_id            = aws_security_group.this[each.key].id
  description                  = "from the callers, and from the load balancer alone"
  ip_protocol                  = "tcp"
  from_port                    = each.value
  to_port                      = each.value
  cidr_ipv4                    = each.key == "balancer" ? "0.0.0.0/0" : null
  referenced_security_group_id = each.key == "service" ? aws_security_group.this["balancer"].id : null
}

resource "aws_vpc_security_group_egress_rule" "this" {
  for_each          = { balancer = local.port, service = 443 }
  security_group_id = aws_security_group.this[each.key].id
  description       = "to the service, and from there to registry and logs"
  ip_protocol       = "tcp"
  from_port         = each.value
  to_port           = each.value
  cidr_ipv4         = each.key == "balancer" ? data.aws_vpc.this.cidr_block : "0.0.0.0/0"
}

resource "aws_lb" "this" {
  #checkov:skip=CKV_AWS_91:every prediction is logged already
  #checkov:skip=CKV2_AWS_28:a web firewall is the choice of who runs the account
  #checkov:skip=CKV_AWS_150:on in production; staging may be torn down
  name                       = local.short
  security_groups            = [aws_security_group.this["balancer"].id]
  subnets                    = data.aws_subnets.public.ids
  drop_invalid_header_fields = true
  enable_deletion_protection = var.environment == "production"
  tags                       = { url = var.https == null ? "" : "https://${var.https.host}" } # modules/service reads it
}

resource "aws_lb_target_group" "this" {
  #checkov:skip=CKV_AWS_378:TLS ends at the load balancer, and the service takes calls from nowhere else
  name                 = local.short
  port                 = local.port
  protocol             = "HTTP"
  target_type          = "ip"
  vpc_id               = data.aws_vpc.this.id
  deregistration_delay = 30
  health_check {
    path     = "/health/ready"
    interval = 10
  }
}

resource "aws_lb_listener" "this" {
  #checkov:skip=CKV_AWS_2:HTTPS as soon as there is a certificate
  #checkov:skip=CKV_AWS_103:HTTPS as soon as there is a certificate
  load_balancer_arn = aws_lb.this.arn
  port              = local.open
  protocol          = var.https == null ? "HTTP" : "HTTPS"
  ssl_policy        = var.https == null ? null : "ELBSecurityPolicy-TLS13-1-2-2021-06"
  certificate_arn   = var.https == null ? null : var.https.certificate_arn
  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.this.arn
  }
}

output "url" { value = coalesce(aws_lb.this.tags.url, "http://${aws_lb.this.dns_name}") }

# What a release may do here: change the service, and note what passed its tests. Of network and IAM it may only hand over the two roles.
output "release_duties" {
  value = [
    { Effect = "Allow", Resource = "*", Action = [ # AWS cannot limit these to one resource
      "ecs:RegisterTaskDefinition", "ecs:DescribeTaskDefinition", "ec2:DescribeSecurityGroups",
      "elasticloadbalancing:DescribeLoadBalancers", "elasticloadbalancing:DescribeLoadBalancerAttributes", "elasticloadbalancing:DescribeTags",
      "elasticloadbalancing:DescribeTargetGroups", "elasticloadbalancing:DescribeTargetGroupAttributes",
    ] },
    { Effect = "Allow", Resource = [for kind in ["service", "service-deployment", "service-revision"] : "arn:aws:ecs:${local.place}:${kind}/${local.full}/*"],
    Action = [for what in ["CreateService", "UpdateService", "DeleteService", "DescribeServices", "ListServiceDeployments", "DescribeServiceDeployments", "DescribeServiceRevisions"] : "ecs:${what}"] },
    { Effect = "Allow", Resource = "arn:aws:ssm:${local.place}:parameter/release/${var.name}/${var.environment}/image-digest",
    Action = ["ssm:PutParameter", "ssm:GetParameterHistory"] }, # the digests that passed their smoke tests, for a rollback
    { Effect = "Allow", Resource = [for duty in ["task", "execution"] : "arn:aws:iam::${local.account}:role/${local.full}-${duty}"],
    Action = ["iam:PassRole"], Condition = { StringEquals = { "iam:PassedToService" = "ecs-tasks.amazonaws.com" } } },
  ]
}
