import { defineConfig } from 'vitest/config'

// A whole Debian, made of packages and booted from a card: minutes, so `npm run test:card` and not `npm test`.
export default defineConfig({
  test: {
    include: ['test/flash/**/*.card.ts'],
    testTimeout: 600_000,
    hookTimeout: 900_000,
    pool: 'forks',
    fileParallelism: false,
  },
})
