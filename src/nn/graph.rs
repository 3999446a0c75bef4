//! Networks whose layers form a graph: what each node computes, and where its numbers lie.
//!
//! A row of a tape holds the values of all nodes of one sample. Nodes follow what they take, so a pass forward goes
//! through the list, and a pass in reverse goes back through it.

use crate::device::layout::{Layer, Layout, Map, Shape};
use crate::device::{Attention, Fixed, Groups, Mat};
use crate::formulas::Activation;

/// The largest number of nodes: passes keep a flag for each on the stack.
pub const MAX_NODES: usize = 1024;

/// What a node computes of the nodes that it takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Op {
    /// The numbers of the sample, which are the first columns of an input.
    Sample,
    /// Columns of the input from the first to the second: the latent.
    Beside(usize, usize),
    /// Features of the input's last column, the time.
    Waves,
    /// A layer, by its number.
    Layer(usize),
    /// The nonlinearity.
    Activate(Activation),
    /// A map without weights, or its transpose.
    Fixed(Fixed, bool),
    /// The sum of two nodes.
    Add,
    /// Two pictures of the same size, the channels of the second behind those of the first.
    Join(Shape, Shape),
    /// A picture, with a scale and a shift for each channel from the second node.
    Modulate(Shape),
    /// A picture with each group of channels normalised. Has no tangent: a value function has no such node.
    GroupNorm(Groups),
    /// The weights by which each pixel attends to all, from two pictures that are compared. Has no tangent either.
    AttentionWeights(Attention),
    /// What each pixel takes of the second node, a picture, by the first's weights. Has no tangent either.
    Attend(Attention),
}

/// A node. See the module.
#[derive(Clone, Copy, Debug)]
pub struct Node {
    pub op: Op,
    /// Numbers of the nodes that it takes; one that takes fewer names itself.
    pub from: [usize; 2],
    /// Numbers in a row.
    pub cols: usize,
    /// Whether it depends on the sample.
    pub moves: bool,
    /// Whether it depends on weights.
    pub learns: bool,
    /// Where its numbers begin in a row of a tape that keeps all nodes.
    kept: usize,
    /// Where they begin in a row of which nodes use again what others no longer need.
    passing: usize,
}

/// The nodes of a network. The last one is its output.
#[derive(Clone, Debug)]
pub struct Graph {
    pub nodes: Vec<Node>,
    /// Numbers of an input row, and how many of them are the sample's.
    pub inputs: usize,
    pub sample: usize,
    /// The network's output is the last node times this.
    pub factor: f64,
    /// Layers whose weights begin at zero: what they give is added to something.
    pub zero_layers: Vec<usize>,
    kept: usize,
    passing: usize,
}

impl Graph {
    /// Returns the node's matrix in a tape that keeps all nodes.
    pub fn kept(&self, tape: Mat, node: usize) -> Mat {
        tape.part(self.nodes[node].kept, self.nodes[node].cols)
    }

    /// Returns the node's matrix in a row that nodes use in turn.
    pub fn passing(&self, rows: Mat, node: usize) -> Mat {
        rows.part(self.nodes[node].passing, self.nodes[node].cols)
    }

    /// Returns how many numbers a row has that keeps all nodes, and one that nodes use in turn.
    pub fn widths(&self) -> [usize; 2] {
        [self.kept, self.passing]
    }

    /// Returns the number of the output.
    pub fn output(&self) -> usize {
        self.nodes.len() - 1
    }

    /// Returns how many numbers the output has.
    pub fn outputs(&self) -> usize {
        self.nodes[self.output()].cols
    }

    /// Returns the bytes of the lists.
    pub fn bytes(&self) -> usize {
        self.nodes.len() * size_of::<Node>() + self.zero_layers.len() * size_of::<usize>()
    }
}

/// Builds a graph node by node. Each method returns the number of the node that it adds.
pub struct Builder {
    maps: Vec<Map>,
    nodes: Vec<Node>,
    inputs: usize,
    sample: usize,
    zero_layers: Vec<usize>,
}

impl Builder {
    /// Begins with the node 0, the sample, which is the first `sample` of `inputs` columns.
    pub fn new(inputs: usize, sample: usize) -> Self {
        let mut builder = Self { maps: Vec::new(), nodes: Vec::new(), inputs, sample, zero_layers: Vec::new() };
        builder.add_node(Op::Sample, &[], sample);
        builder
    }

    fn add_node(&mut self, op: Op, from: &[usize], cols: usize) -> usize {
        let number = self.nodes.len();
        assert!(number < MAX_NODES && from.iter().all(|&node| node < number));
        let any = |of: fn(&Node) -> bool| from.iter().any(|&node| of(&self.nodes[node]));
        let moves = op == Op::Sample || any(|node| node.moves);
        let learns = matches!(op, Op::Layer(_)) || any(|node| node.learns);
        let from = [0, 1].map(|place| from.get(place).copied().unwrap_or(number));
        self.nodes.push(Node { op, from, cols, moves, learns, kept: 0, passing: 0 });
        number
    }

    fn cols(&self, node: usize) -> usize {
        self.nodes[node].cols
    }

    /// The latent: all columns behind the sample.
    pub fn beside(&mut self) -> usize {
        let (from, to) = (self.sample, self.inputs);
        self.add_node(Op::Beside(from, to), &[], to - from)
    }

    /// Features of the time, the last column.
    pub fn waves(&mut self) -> usize {
        assert!(self.inputs == self.sample + 1);
        self.add_node(Op::Waves, &[], 3)
    }

    /// A layer of any kind.
    pub fn layer(&mut self, x: usize, map: Map) -> usize {
        let layer = Layer { map, offset: 0 };
        assert_eq!(layer.inputs(), self.cols(x));
        self.maps.push(map);
        self.add_node(Op::Layer(self.maps.len() - 1), &[x], layer.outputs())
    }

    /// A dense layer.
    pub fn dense(&mut self, x: usize, outputs: usize) -> usize {
        self.layer(x, Map::Dense { inputs: self.cols(x), outputs })
    }

    /// Lets the last layer's weights begin at zero.
    pub fn begin_at_zero(&mut self) {
        self.zero_layers.push(self.maps.len() - 1);
    }

    /// The nonlinearity of each number.
    pub fn activate(&mut self, x: usize, activation: Activation) -> usize {
        self.add_node(Op::Activate(activation), &[x], self.cols(x))
    }

    /// A map without weights.
    pub fn fixed(&mut self, x: usize, map: Fixed) -> usize {
        let [takes, gives] = map.ends().unwrap_or([self.cols(x); 2]);
        assert_eq!(takes, self.cols(x));
        self.add_node(Op::Fixed(map, false), &[x], gives)
    }

    /// The transpose of a map without weights.
    pub fn transposed(&mut self, x: usize, map: Fixed) -> usize {
        let [takes, gives] = map.ends().unwrap_or([self.cols(x); 2]);
        assert_eq!(gives, self.cols(x));
        self.add_node(Op::Fixed(map, true), &[x], takes)
    }

    /// A sum.
    pub fn sum(&mut self, a: usize, b: usize) -> usize {
        assert_eq!(self.cols(a), self.cols(b));
        self.add_node(Op::Add, &[a, b], self.cols(a))
    }

    /// Channels of two pictures beside each other.
    pub fn join(&mut self, a: (usize, Shape), b: (usize, Shape)) -> usize {
        let ((a, first), (b, second)) = (a, b);
        assert!(first.height == second.height && first.width == second.width);
        assert!(self.cols(a) == first.numbers() && self.cols(b) == second.numbers());
        self.add_node(Op::Join(first, second), &[a, b], first.numbers() + second.numbers())
    }

    /// A picture with a scale and a shift for each channel from `e`.
    pub fn modulate(&mut self, x: usize, shape: Shape, e: usize) -> usize {
        assert!(self.cols(x) == shape.numbers() && self.cols(e) == 2 * shape.channels);
        self.add_node(Op::Modulate(shape), &[x, e], self.cols(x))
    }

    /// A picture with each of so many groups of channels normalised.
    pub fn group_norm(&mut self, x: usize, shape: Shape, count: usize) -> usize {
        assert!(self.cols(x) == shape.numbers() && shape.channels.is_multiple_of(count));
        self.add_node(Op::GroupNorm(Groups { shape, count }), &[x], self.cols(x))
    }

    /// What each pixel of `v` takes of all others, by the softmax of products of `q` at its place with `k` at theirs.
    pub fn attention(&mut self, [q, k, v]: [usize; 3], of: Attention) -> usize {
        assert!([q, k, v].into_iter().all(|node| self.cols(node) == of.shape.numbers()));
        assert!(of.shape.channels.is_multiple_of(of.heads));
        let weights = self.add_node(Op::AttentionWeights(of), &[q, k], of.weights());
        self.add_node(Op::Attend(of), &[weights, v], of.shape.numbers())
    }

    /// Returns the layers and the graph, whose output is the last node times `factor`.
    pub fn finish(self, factor: f64) -> (Layout, Graph) {
        let Self { maps, mut nodes, inputs, sample, zero_layers } = self;
        let mut kept = 0;
        for node in &mut nodes {
            node.kept = kept;
            kept += node.cols.next_multiple_of(Mat::PART);
        }
        let passing = share(&mut nodes);
        let layout = Layout::of_graph(maps.into_iter());
        (layout, Graph { nodes, inputs, sample, factor, zero_layers, kept, passing })
    }
}

/// Lets nodes take the places of others that no later node needs. Returns how many numbers that takes.
fn share(nodes: &mut [Node]) -> usize {
    let last_use = |nodes: &[Node], node: usize| (node..nodes.len()).rev().find(|&n| nodes[n].from.contains(&node));
    let until: Vec<usize> = (0..nodes.len()).map(|n| last_use(nodes, n).unwrap_or(n).max(n)).collect();
    let mut most = 0;
    for n in 0..nodes.len() {
        // The output stays until the end. Places of nodes that are still needed, in their order.
        let mut taken: Vec<(usize, usize)> = (0..n)
            .filter(|&other| until[other] >= n)
            .map(|other| (nodes[other].passing, nodes[other].cols.next_multiple_of(Mat::PART)))
            .collect();
        taken.sort_unstable();
        let cols = nodes[n].cols.next_multiple_of(Mat::PART);
        let mut at = 0;
        for (start, len) in taken {
            if at + cols <= start {
                break;
            }
            at = at.max(start + len);
        }
        nodes[n].passing = at;
        most = most.max(at + cols);
    }
    most
}
