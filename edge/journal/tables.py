"""The tables of a journal. Times are nanoseconds; a NULL is what was not known."""

TABLES = """
CREATE TABLE models (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    labels TEXT NOT NULL,              -- JSON: the classes' names in the order of their ids
    UNIQUE (name, sha256, labels)
);
CREATE TABLE runs (
    id INTEGER PRIMARY KEY,
    run TEXT NOT NULL UNIQUE,          -- as in the records
    boot_id TEXT,                      -- the monotonic clocks of runs of one boot are one clock
    started_ns INTEGER NOT NULL,       -- monotonic, as are all times that are not called utc
    ended_ns INTEGER,                  -- NULL: it is running, or ended without a chance to say so
    ended_because TEXT,
    model_id INTEGER NOT NULL REFERENCES models (id),
    runtime TEXT NOT NULL,
    runtime_version TEXT NOT NULL,
    backend TEXT NOT NULL,             -- what the run is for; frames.state tells where the CPU answered in its place
    threads INTEGER NOT NULL,
    camera TEXT NOT NULL,
    configuration TEXT NOT NULL,       -- JSON
    board TEXT NOT NULL,               -- JSON: edge.device.Device
    versions TEXT NOT NULL,            -- JSON: package -> version
    opened_ns INTEGER,                 -- how long opening the model took
    first_invoke_ns INTEGER            -- how long the first inference took
);
CREATE TABLE clocks (                  -- UTC of a moment: its monotonic time plus the offset of the last row before it
    run_id INTEGER NOT NULL REFERENCES runs (id),
    since_ns INTEGER NOT NULL,
    utc_minus_monotonic_ns INTEGER NOT NULL,
    PRIMARY KEY (run_id, since_ns)
) WITHOUT ROWID;
CREATE TABLE frames (                  -- a part of the frames: each stands for so many as stands_for tells
    id INTEGER PRIMARY KEY,
    run_id INTEGER NOT NULL REFERENCES runs (id),
    sequence INTEGER NOT NULL,
    monotonic_ns INTEGER NOT NULL,     -- when its result was there
    wait_ns INTEGER NOT NULL,
    preprocess_ns INTEGER NOT NULL,
    invoke_ns INTEGER NOT NULL,
    postprocess_ns INTEGER NOT NULL,
    class_id INTEGER NOT NULL,         -- of the first prediction
    score INTEGER NOT NULL,            -- of it, in 1/10000
    others BLOB NOT NULL,              -- the next predictions: class id and score, uint16 little-endian each
    truth TEXT,                        -- as it was known at the time
    dropped INTEGER NOT NULL,          -- frames of the camera since the previous result that nobody classified
    throttled INTEGER,                 -- Raspberry Pi throttling bits
    state INTEGER NOT NULL,            -- 0 steady, 1 warm-up, 2 throttled, 3 fallback: the CPU answered
    stands_for INTEGER NOT NULL        -- this one and the frames of which no row was kept
);
CREATE TABLE windows (                 -- a minute each; all frames count here
    id INTEGER PRIMARY KEY,
    run_id INTEGER NOT NULL REFERENCES runs (id),
    began_ns INTEGER NOT NULL,
    ended_ns INTEGER NOT NULL,
    frames INTEGER NOT NULL,
    unrecorded INTEGER NOT NULL,       -- frames that the journal could not take, and that count nowhere else
    drops TEXT NOT NULL,               -- JSON: reason -> frames that nobody classified; "unchanged": kept by a gate
    answers TEXT NOT NULL,             -- JSON: [truth or null, first prediction's class id, frames, right in top 5]
    throttled INTEGER,                 -- all bits that were seen
    temperature_min_c REAL, temperature_mean_c REAL, temperature_max_c REAL,
    clock_min_mhz REAL, clock_mean_mhz REAL, clock_max_mhz REAL,
    governor TEXT,
    memory_available_min_bytes INTEGER,
    resident_max_bytes INTEGER,        -- of this process
    load_mean REAL,
    coral_max_c REAL,                  -- of a PCIe Edge TPU
    histograms BLOB NOT NULL           -- see edge.journal.packing
);
CREATE TABLE events (
    id INTEGER PRIMARY KEY,
    run_id INTEGER NOT NULL REFERENCES runs (id),
    monotonic_ns INTEGER NOT NULL,
    kind TEXT NOT NULL,
    detail TEXT NOT NULL               -- JSON
);
CREATE TABLE labels (                  -- what somebody says was true: of one frame, or of a span of time
    id INTEGER PRIMARY KEY,
    run_id INTEGER REFERENCES runs (id),
    sequence INTEGER,
    from_utc_ns INTEGER,
    to_utc_ns INTEGER,                 -- not in the span any more
    truth TEXT,                        -- NULL: nothing is known; takes back what was said before
    said_by TEXT NOT NULL,
    said_utc_ns INTEGER NOT NULL,
    CHECK ((run_id IS NOT NULL AND sequence IS NOT NULL) <> (from_utc_ns IS NOT NULL AND to_utc_ns IS NOT NULL))
);
CREATE TABLE pictures (                -- a sample of frames whose pictures were kept, for a person to look at
    id INTEGER PRIMARY KEY,
    run_id INTEGER NOT NULL REFERENCES runs (id),
    sequence INTEGER NOT NULL,
    monotonic_ns INTEGER NOT NULL,
    stratum TEXT NOT NULL,             -- why it was chosen: ordinary, unsure or changed
    stands_for REAL NOT NULL,          -- frames that it was chosen from: of its stratum and time
    file TEXT NOT NULL,                -- in the folder of pictures beside the journal; '' when it was deleted since
    class_id INTEGER NOT NULL,
    score INTEGER NOT NULL,
    others BLOB NOT NULL,
    truth TEXT
);
CREATE TABLE budget (                  -- one row: what may still be written, for the next run
    id INTEGER PRIMARY KEY CHECK (id = 1),
    looked_utc_ns INTEGER NOT NULL,    -- when it was last decided how much is written
    left_bytes INTEGER NOT NULL,       -- then, and what was written since
    written_bytes INTEGER NOT NULL,
    keep_every INTEGER NOT NULL,
    batch_s REAL NOT NULL
);
CREATE VIEW frames_utc AS
    SELECT strftime('%Y-%m-%dT%H:%M:%fZ', utc_s, 'unixepoch') AS utc, * FROM (
        SELECT frames.*, (monotonic_ns + (
            SELECT utc_minus_monotonic_ns FROM clocks
            WHERE clocks.run_id = frames.run_id AND since_ns <= monotonic_ns ORDER BY since_ns DESC LIMIT 1
        )) / 1e9 AS utc_s FROM frames
    );
"""
