"""Heavy steps in processes of their own, so that they do not delay what the server does at once.

`steps` decides what goes there and brings it back, `processes` keeps the processes, `wire` is what passes between, and
`__main__` is such a process. Starting one takes a third of a second, so each stays for a while after its last step.
"""
