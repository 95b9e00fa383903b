//! A learner: a compiled network, and Keras' `train_on_batch`.

use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::Tensor;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::Compile;
use crate::network::ops::Memory;
use crate::network::{Network, Output};

/// A network with its loss, and with what its optimizer remembers.
pub struct Learner {
    network: Network,
    optimizer: ModuleOptimizer,
    compile: Compile,
    rng: ChaCha8Rng,
    /// Steps make tensors of the sizes of the step before.
    _memory: Memory,
}

impl Learner {
    /// Compiles a network, which has to be on a device with autodiff. Dropout is drawn from `seed`.
    pub fn new(network: Network, compile: Compile, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        // Shuffling draws from the same seed, on stream 0.
        rng.set_stream(1);
        Self {
            network,
            optimizer: compile.optimizer.init(),
            compile,
            rng,
            _memory: Memory::new(),
        }
    }

    /// The network as it is now.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// One step: forward, backward, and the optimizer's update, unless the loss is not finite.
    /// `images` is `[n, H, W, C]`, `target` is `[n, outputs]`.
    ///
    /// Returns the loss before the step, as Keras does, with what the regularizers add to it, and
    /// what the network gave.
    pub fn train_on_batch(&mut self, images: Tensor<4>, target: Tensor<2>) -> (f64, Output) {
        let output = self.network.forward_training(images, &mut self.rng);
        let mut loss = self.compile.loss.per_example(&output, target).mean();
        if let Some(penalty) = self.network.penalty() {
            loss = loss + penalty;
        }
        let value = f64::from(loss.clone().into_scalar::<f32>());
        if value.is_finite() {
            let gradients = GradientsParams::from_grads(loss.backward(), &self.network);
            let learning_rate = self.compile.optimizer.learning_rate();
            // Nobody else holds the weights now, so they are moved where they lie.
            let network = self.network.take();
            self.network = self.optimizer.step(learning_rate, network, gradients);
        }
        (value, output)
    }
}
