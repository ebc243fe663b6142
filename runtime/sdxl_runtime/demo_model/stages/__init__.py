"""The three stages of training, in their order: text, vae, unet."""
