"""Where concrete classes meet: the only room that knows which engine, disk and dialect a run is made of."""
