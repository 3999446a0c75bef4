#include "graph_check.h"

#include <cstdio>

namespace {

bool overlap(const std::vector<host::Range>& a, const std::vector<host::Range>& b) {
    for (auto x = a.begin(), y = b.begin(); x != a.end() && y != b.end();) {
        if (x->first < y->end && y->first < x->end) {
            return true;
        }
        (x->end < y->end ? x : y)++;
    }
    return false;
}

}  // namespace

bool unordered_nodes_touch_the_same(const std::vector<Node>& nodes, const std::vector<host::Touched>& touched) {
    // Nodes come after those that they follow.
    std::vector<std::vector<bool>> before(nodes.size(), std::vector<bool>(nodes.size()));
    for (size_t i = 0; i < nodes.size(); ++i) {
        for (size_t direct : nodes[i].after) {
            before[i][direct] = true;
            for (size_t j = 0; j < direct; ++j) {
                before[i][j] = before[i][j] || before[direct][j];
            }
        }
        for (size_t j = 0; j < i; ++j) {
            if (!before[i][j] && (overlap(touched[i].writes, touched[j].writes) ||
                                  overlap(touched[i].writes, touched[j].reads) ||
                                  overlap(touched[i].reads, touched[j].writes))) {
                std::fprintf(stderr,
                             "simulated GPU: node %zu of a graph, %s, and node %zu, %s, touch the same bytes, and one "
                             "of them writes, but no edge keeps them apart\n",
                             j, nodes[j].name, i, nodes[i].name);
                return true;
            }
        }
    }
    return false;
}
