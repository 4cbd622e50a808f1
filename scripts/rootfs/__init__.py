"""The root of the container image, made from a binary and a few packages of Debian, without a container engine."""
