"""The code of the Lambda functions, a package for each. Imports no CDK."""
