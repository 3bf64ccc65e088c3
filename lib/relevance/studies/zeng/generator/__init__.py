"""What a generator's maps are worth: how well they align, how they fare under attack, and whether they look at the classifier.

Next to each number stand those of the controls: a map that is the same for every image, and one for each class.
"""

from relevance.base.rooms import on_demand

__getattr__ = on_demand(__name__)
