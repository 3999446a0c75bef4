// Nodes of a graph that a device may run at the same time, though they are in each other's way.
#pragma once

#include "../watch.h"
#include "capture.h"

// Whether two nodes touch the same bytes, one of them to write, and neither comes after the other; says which.
// `touched` is what each of them touched.
bool unordered_nodes_touch_the_same(const std::vector<Node>& nodes, const std::vector<host::Touched>& touched);
