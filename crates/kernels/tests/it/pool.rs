//! Pooling and its gradients.
use kernels::{AveragePool2d, MaxPool2d, Padding2d, Pool2dShape};
use proptest::prelude::*;

use crate::reference::{Sum, assert_sums, levels, values};

fn shapes() -> impl Strategy<Value = Pool2dShape> {
    let pair = |range: std::ops::RangeInclusive<usize>| (range.clone(), range);
    let channels = prop_oneof![Just(1usize), Just(3), Just(17), Just(33), 1..=40usize];
    (
        pair(4..=11),
        channels,
        pair(1..=4),
        pair(1..=3),
        any::<[u8; 4]>(),
    )
        .prop_map(|(input, channels, window, stride, pad)| Pool2dShape {
            input,
            channels,
            window,
            stride,
            padding: Padding2d {
                top: usize::from(pad[0]) % window.0,
                bottom: usize::from(pad[1]) % window.0,
                left: usize::from(pad[2]) % window.1,
                right: usize::from(pad[3]) % window.1,
            },
        })
}

/// The input indices under each output value, in order.
fn windows(s: &Pool2dShape, (height, width): (usize, usize), images: usize) -> Vec<Vec<usize>> {
    let mut windows = Vec::new();
    for image in 0..images {
        for oy in 0..height {
            for ox in 0..width {
                for c in 0..s.channels {
                    let mut window = Vec::new();
                    for ky in 0..s.window.0 {
                        for kx in 0..s.window.1 {
                            let iy = (oy * s.stride.0 + ky)
                                .checked_sub(s.padding.top)
                                .filter(|y| *y < s.input.0);
                            let ix = (ox * s.stride.1 + kx)
                                .checked_sub(s.padding.left)
                                .filter(|x| *x < s.input.1);
                            if let (Some(iy), Some(ix)) = (iy, ix) {
                                window.push(
                                    ((image * s.input.0 + iy) * s.input.1 + ix) * s.channels + c,
                                );
                            }
                        }
                    }
                    windows.push(window);
                }
            }
        }
    }
    windows
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn maxima_match(shape in shapes(), images in 0..4usize, seed in 0..1000u64) {
        let plan = MaxPool2d::new(shape).unwrap();
        // Few different values, so that there are ties; and some NaN.
        let mut x = values(images * plan.input_len(), seed);
        x.iter_mut().for_each(|x| *x = (*x * 4.0).round());
        x.iter_mut().skip(5).step_by(97).for_each(|x| *x = f32::NAN);
        let dy = values(images * plan.output_len(), seed + 1);
        let (mut want_y, mut want_dx) = (Vec::new(), vec![0.0; x.len()]);
        for (window, dy) in windows(&shape, plan.output(), images).iter().zip(&dy) {
            let first = window.iter().copied().reduce(|a, b| if x[a].is_nan() || x[a] >= x[b] { a } else { b }).unwrap();
            want_y.push(x[first]);
            want_dx[first] += dy;
        }
        for level in levels() {
            let plan = plan.clone().with_level(level);
            let (mut y, mut dx) = (vec![9.0; dy.len()], vec![9.0; x.len()]);
            plan.forward(&x, &mut y).unwrap();
            prop_assert!(y.iter().zip(&want_y).all(|(a, b)| a == b || (a.is_nan() && b.is_nan())));
            plan.grad_input(&x, &dy, &mut dx).unwrap();
            prop_assert_eq!(&dx, &want_dx);
        }
    }

    #[test]
    fn averages_match(shape in shapes(), images in 0..4usize, seed in 0..1000u64) {
        let plan = AveragePool2d::new(shape).unwrap();
        let x = values(images * plan.input_len(), seed);
        let dy = values(images * plan.output_len(), seed + 1);
        let (mut want_y, mut want_dx) = (vec![Sum::default(); dy.len()], vec![Sum::default(); x.len()]);
        for (o, window) in windows(&shape, plan.output(), images).iter().enumerate() {
            for &i in window {
                want_y[o].add(f64::from(x[i]) / window.len() as f64);
                want_dx[i].add(f64::from(dy[o]) / window.len() as f64);
            }
        }
        for level in levels() {
            let plan = plan.clone().with_level(level);
            let (mut y, mut dx) = (vec![9.0; dy.len()], vec![9.0; x.len()]);
            plan.forward(&x, &mut y).unwrap();
            assert_sums("y", &y, &want_y);
            plan.grad_input(&dy, &mut dx).unwrap();
            assert_sums("dx", &dx, &want_dx);
        }
    }
}

#[test]
fn a_window_as_large_as_the_image_is_a_global_pooling() {
    let shape = Pool2dShape {
        input: (2, 2),
        channels: 1,
        window: (2, 2),
        stride: (9, 9),
        padding: Padding2d::default(),
    };
    let mut y = [0.0];
    AveragePool2d::new(shape)
        .unwrap()
        .forward(&[1.0, 2.0, 3.0, 6.0], &mut y)
        .unwrap();
    assert_eq!(y, [3.0]);
    MaxPool2d::new(shape)
        .unwrap()
        .forward(&[1.0, 2.0, 3.0, 6.0], &mut y)
        .unwrap();
    assert_eq!(y, [6.0]);
}
