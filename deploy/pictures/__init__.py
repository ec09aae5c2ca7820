"""Folders of pictures: reading, dividing, choosing and varying them."""
