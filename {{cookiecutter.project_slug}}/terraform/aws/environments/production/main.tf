# Production: the digest that passed staging, on two tasks. The release workflow applies it; sizes change here.
terraform {
  backend "s3" {
    key          = "production.tfstate"
    use_lockfile = true
  }
}

variable "image_digest" { type = string }

module "service" {
  source       = "../../modules/service"
  environment  = "production"
  image_digest = var.image_digest
  api_keys     = jsondecode(file("${path.module}/../../../../ops/project.json")).api_keys.production
  size         = { cpu = 512, memory = 1024, tasks = 2 }
}

output "service_url" { value = module.service.service_url }
output "image_digest" { value = module.service.image_digest }
