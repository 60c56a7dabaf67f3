"""Parts from outside the package: each one Python file here and one YAML file in ../conf."""
