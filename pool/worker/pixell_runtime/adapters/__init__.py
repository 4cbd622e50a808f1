"""Handlers of ours for packages whose own code the runtime does not call: one package below this for each.

Which package gets one, and which of its agents which function, is the manifest's and the configuration's to say.
"""
