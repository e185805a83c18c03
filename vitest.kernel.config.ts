import { defineConfig } from 'vitest/config'

// A guest with a kernel of its own: a minute or two, so `npm run test:kernel` and not `npm test`.
export default defineConfig({
  test: {
    include: ['test/kernel/**/*.kernel.ts'],
    testTimeout: 20_000,
    hookTimeout: 600_000,
    pool: 'forks',
    fileParallelism: false,
  },
})
