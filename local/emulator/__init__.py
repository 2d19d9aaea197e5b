"""An AWS account on this machine: moto's services, with what moto leaves out of CloudFormation and IAM."""
