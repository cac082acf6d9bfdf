"""The only room that knows napari, Qt, magicgui and pyqtgraph. It translates; it computes nothing on pixels."""
