import fc from 'fast-check'

// `npm run fuzz` gives properties a time instead of a number of runs.
const seconds = Number(process.env['FUZZ_SECONDS'] ?? 0)
if (seconds > 0) {
  fc.configureGlobal({
    numRuns: Number.MAX_SAFE_INTEGER,
    interruptAfterTimeLimit: seconds * 1000,
    markInterruptAsFailure: false,
  })
}
