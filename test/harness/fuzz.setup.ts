import fc from 'fast-check'

// `npm run fuzz` gives properties a time instead of a number of runs, and looks somewhere else each time. The suite tries
// the same cases every time: what it says of a change is then due to the change. FUZZ_SEED names other ones.
const seconds = Number(process.env['FUZZ_SECONDS'] ?? 0)
if (seconds > 0) {
  fc.configureGlobal({
    numRuns: Number.MAX_SAFE_INTEGER,
    interruptAfterTimeLimit: seconds * 1000,
    markInterruptAsFailure: false,
  })
} else {
  fc.configureGlobal({ seed: Number(process.env['FUZZ_SEED'] ?? 1) })
}
