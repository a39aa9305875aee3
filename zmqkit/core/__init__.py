"""Pure state machines: messages and a clock reading in, effects and the next deadline out."""
