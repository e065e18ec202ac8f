"""Interactive lab: GANs on 2-D and 1-D points, trained live in the browser."""
