//! Sessions on several threads: every call gives the bits of one thread, also where two sessions, or a session and a
//! training, want the same threads at once; and a fault is the same one.

mod problems;

use problems::*;
use sfeuot::*;

const SHAPE: [usize; 3] = [3, 20, 18];
const NUMBERS: usize = 3 * 20 * 18;
const MOST: usize = 5;

fn of_pictures(threads: usize, channels: usize) -> Model {
    let samples = floats(&normals(4 * NUMBERS, 3));
    let shape = [4, SHAPE[0], SHAPE[1], SHAPE[2]];
    let side = || Data::array(TensorView::from_f32(&samples, &shape).expect("as many numbers"));
    let network = NetworkSpec::convolutional(Convolutions { channels, ..Convolutions::default() });
    let config = TrainerConfig {
        value_network: Some(network.clone()),
        generator_network: Some(network),
        latent_dimension: 2,
        deterministic: true,
        components: 1,
        batch_sources: 2,
        ..small()
    };
    let mut trainer = Trainer::new(&context(threads), config, side(), side()).expect("a sound problem");
    trainer.step(3).expect("a sound problem");
    trainer.model().expect("a model")
}

fn of_clouds(threads: usize, form: TrainerConfig) -> Model {
    let mut trainer = Clouds::new(2).trainer(&context(threads), form);
    trainer.step(10).expect("a sound problem");
    trainer.model().expect("a model")
}

fn session(model: &Model, threads: usize) -> Session {
    Session::with_config(model, &SessionConfig { threads }).expect("a workspace")
}

/// The results of every call for so many rows.
fn everything(session: &mut Session, x: &[f32]) -> Vec<Vec<f32>> {
    let d = session.model().info().dimension;
    let rows = x.len() / d;
    let [mut x1, mut mean, mut drift, mut tensor] = [0; 4].map(|_| vec![0f32; x.len()]);
    let (mut path, mut ratio, mut bytes) = (vec![0f32; 2 * x.len()], vec![0f32; rows], vec![0u8; x.len()]);
    session.generate(x, 7, 3, &mut x1).expect("finite rows");
    session.conditional_mean(x, 5, 7, 3, &mut mean).expect("finite rows");
    session.trajectory(x, &[0.3, 1.0], 7, 3, &mut path).expect("finite rows");
    session.drift(0.4, x, &mut drift).expect("finite rows");
    session.density_ratio(x, &mut ratio).expect("finite rows");
    if rows > 0 {
        let source = TensorView::from_f32(x, &[rows, d]).expect("rows");
        let mut to = TensorViewMut::from_u8(&mut bytes, &[rows, d]).expect("rows").scaled(0.05, -4.0).expect("a scale");
        session.generate_tensor(&source, 7, 3, &mut to).expect("finite rows");
        let mut to = TensorViewMut::from_f32(&mut tensor, &[rows, d]).expect("rows");
        session.drift_tensor(0.4, &source, &mut to).expect("finite rows");
        assert!(tensor == drift);
    }
    vec![x1, mean, path, drift, ratio, bytes.into_iter().map(f32::from).collect()]
}

#[test]
fn calls_give_the_same_bits_on_any_number_of_threads() {
    let x = floats(&normals(4001 * 2, 9));
    for form in forms() {
        let model = of_clouds(MOST, TrainerConfig { hidden_width: 70, ..form });
        let rows = [0, 1, 63, 64, 65, 200, 1000, 4001];
        let alone = rows.map(|rows| everything(&mut session(&model, 1), &x[..2 * rows]));
        for threads in [0, 2, 3, MOST, 40] {
            let mut session = session(&model, threads);
            for (rows, alone) in rows.iter().zip(&alone) {
                assert!(everything(&mut session, &x[..2 * rows]) == *alone, "{rows} rows, {threads} threads");
            }
        }
    }
}

#[test]
fn pictures_are_the_same_bits_whether_threads_share_one_or_take_their_own() {
    let x = floats(&normals(9 * NUMBERS, 9));
    // Channels that are no whole vectors, and such that layers are cut both ways.
    for channels in [5, 32, 40] {
        let model = of_pictures(MOST, channels);
        let alone = everything(&mut session(&model, 1), &x);
        for threads in [2, 3, MOST] {
            for rows in [1, 2, 3, 4, 7, 9] {
                let shared = everything(&mut session(&model, threads), &x[..rows * NUMBERS]);
                for (shared, alone) in shared.iter().zip(&alone) {
                    let same = shared[..] == alone[..shared.len()];
                    assert!(same, "{rows} pictures, {threads} threads, {channels} channels");
                }
            }
        }
    }
}

/// Sessions do not wait for each other, nor for a training.
#[test]
fn sessions_and_a_training_use_one_pool_at_once() {
    let clouds = Clouds::new(2);
    let (x, pictures) = (floats(&normals(3000 * 2, 9)), floats(&normals(NUMBERS, 9)));
    let expected = clouds.model(small(), 60);
    let context = context(3);
    let mut trainer = clouds.trainer(&context, small());
    let model = trainer.model().expect("a model");
    let alone = everything(&mut session(&model, 1), &x);
    let of_pictures = of_pictures(3, 16);
    let one = everything(&mut session(&of_pictures, 1), &pictures);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut session = session(&model, 3);
                (0..20).for_each(|_| assert!(everything(&mut session, &x) == alone));
            });
            scope.spawn(|| {
                let mut session = session(&of_pictures, 3);
                (0..20).for_each(|_| assert!(everything(&mut session, &pictures) == one));
            });
        }
        trainer.step(60).expect("a sound problem");
    });
    assert!(bytes(&trainer.model().expect("a model"), "threads") == bytes(&expected, "threads_expected"));
}

#[test]
fn the_first_row_without_a_finite_result_is_the_one_an_error_names() {
    let clouds = Clouds::new(2);
    let file = bytes(&clouds.model(TrainerConfig { hidden_width: 70, ..small() }, 2), "threads_fault");
    let absurd = changed(&file, |_, weight| weight * 1e30);
    let model = Model::load_memory(&context(4), &absurd).expect("finite weights");
    let x = floats(&normals(3000 * 2, 9));
    let mut out = vec![0f32; x.len()];
    let alone = session(&model, 1).generate(&x, 1, 0, &mut out).expect_err("absurd weights").to_string();
    assert!(alone.contains("row 0"), "{alone}");
    for _ in 0..10 {
        let shared = session(&model, 4).generate(&x, 1, 0, &mut out).expect_err("absurd weights").to_string();
        assert_eq!(shared, alone);
    }
    // The whole session goes on after it.
    let good = Model::load_memory(&context(4), &file).expect("a good file");
    let mut session = session(&good, 4);
    let far = [&x[..2000], &[1e30, 0.0], &x[2000..]].concat();
    let mut out = vec![7f32; far.len()];
    let error = session.generate(&far, 1, 0, &mut out).expect_err("a row far away");
    assert!(error.to_string().contains("source row 1000, number 0"), "{error}");
    assert!(out.iter().all(|&x| x == 7.0), "nothing is written before all rows are known to be good");
    session.generate(&x, 1, 0, &mut out[..x.len()]).expect("finite rows");
}

#[test]
fn a_number_of_threads_beyond_any_context_is_refused() {
    let model = of_clouds(1, small());
    let error = Session::with_config(&model, &SessionConfig { threads: 1025 }).err().expect("too many");
    assert!(error.to_string().contains("threads is 1025, but must be at most 1024"), "{error}");
    Session::with_config(&model, &SessionConfig { threads: 1024 }).expect("as many as the context has");
}
