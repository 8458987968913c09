"""What Start shows beside the dial: facts of the open adapter, all that it trained, and text that it writes."""
