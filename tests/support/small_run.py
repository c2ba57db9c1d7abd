"""Settings of runs that take seconds."""

# Few, small and quick: what the commands do does not depend on these.
SMALL_FEATURES = {"sample_rate_hz": 8000, "n_fft": 512, "hop_length": 256, "n_mels": 32, "crop_seconds": 2.0}
SMALL_RUN = SMALL_FEATURES | {"crops_per_clip": 1, "batch_size": 8, "epochs": 1, "max_failure_rate": 0.05}
# Every augmentation at once.
AUGMENTATION = {
    "spec_augment_time_masks": 2,
    "spec_augment_mel_masks": 1,
    "mixup_alpha": 0.4,
    "time_shift_seconds": 0.5,
    "random_eq_db": 6.0,
    "gain_db": 6.0,
    "polarity_inversion": True,
    "noise_snr_db_min": 10.0,
    "noise_snr_db_max": 30.0,
}
