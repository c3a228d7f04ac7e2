"""What a person looks at: pictures of masks and of training."""
