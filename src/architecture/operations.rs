//! The operations of a network: the measure of how fast it is computed.

use super::{Architecture, Node, variables};

impl Architecture {
    /// The floating-point operations of a forward pass over one image.
    ///
    /// A multiplication and an addition for each weight of a convolution or dense layer, at each place
    /// of the output that it is applied to, as if computed directly and over the padding too. Biases,
    /// activations, pooling and normalization are not counted.
    pub fn forward_operations(&self) -> u64 {
        self.nodes
            .iter()
            .fold(0, |sum, node| sum.saturating_add(self.operations_of(node)))
    }

    /// The floating-point operations of a training step for one image, the optimizer's left out.
    ///
    /// The gradient of a layer's weights takes as many as its forward pass, and so does the gradient
    /// of its input, which the first layer with weights doesn't need.
    pub fn training_operations(&self) -> u64 {
        let counts = self.nodes.iter().map(|node| self.operations_of(node));
        let first = counts.clone().find(|&count| count > 0).unwrap_or(0);
        let forward = self.forward_operations();
        forward.saturating_mul(3).saturating_sub(first)
    }

    fn operations_of(&self, node: &Node) -> u64 {
        let input = match node.inputs.first() {
            Some(&from) => &self.nodes[from].output_shape,
            None => &node.output_shape,
        };
        let kernels = variables::of_node(node, input).filter(|v| v.name.ends_with("kernel"));
        let weights: u64 = kernels
            .map(|kernel| kernel.shape.iter().product::<usize>() as u64)
            .sum();
        let places: usize = match node.output_shape.dims() {
            [places @ .., _] => places.iter().product(),
            [] => 1,
        };
        (2 * weights).saturating_mul(places as u64)
    }
}
