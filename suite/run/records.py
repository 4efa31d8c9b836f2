from suite.records import *  # temporary
