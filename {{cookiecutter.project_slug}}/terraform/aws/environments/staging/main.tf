# Staging: what production will run, on one task. The release workflow applies it; sizes change here.
terraform {
  backend "s3" {
    key          = "staging.tfstate"
    use_lockfile = true
  }
}

variable "image_digest" { type = string }

module "service" {
  source       = "../../modules/service"
  environment  = "staging"
  image_digest = var.image_digest
  api_keys     = jsondecode(file("${path.module}/../../../../ops/project.json")).api_keys.staging
  size         = { cpu = 512, memory = 1024, tasks = 1 }
}

output "service_url" { value = module.service.service_url }
output "image_digest" { value = module.service.image_digest }
