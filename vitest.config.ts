import { defineConfig } from 'vitest/config'

// Unit and property tests sit beside the code; test/ holds the suites that start real processes.
export default defineConfig({
  test: {
    include: [
      '{api,mappers,agent,cloudcore,cli,hil,firmware,node-red,console,demo,bench,scripts}/**/*.test.ts',
      'test/**/*.test.ts',
    ],
    // Only to end what hangs: longer than the longest wait inside of a test that names no time of its own.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    pool: 'forks',
    // A browser on a busy machine takes longer than a second to show what it knows.
    expect: { poll: { timeout: 20_000 } },
    setupFiles: ['test/harness/fuzz.setup.ts'],
  },
})
