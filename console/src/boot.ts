// The shell is painted before anything else is read: on a slow processor that is a second earlier.
const start = () => void import('./main.tsx')
// A page in the background draws no frame.
if (document.visibilityState === 'visible') requestAnimationFrame(() => setTimeout(start))
else start()
