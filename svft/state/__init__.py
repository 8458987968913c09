"""What a layer keeps of its adapters beside M, whether it still belongs to the weight, and how it meets a file."""
