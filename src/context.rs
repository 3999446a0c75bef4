//! Where work runs: device, threads and the log sink shared by trainers and models.
