"""Which compiled program the host calls next.

Most runs have one program of S steps a call. A step number can ask for another
(lazy penalties where control flow is dear, WGAN's extra critic updates), and so
can a loss (the adaptive schedule where control flow is dear).
"""

import jax
import numpy as np

from gan_jax import build
from gan_jax.runtime import parallel
from gan_jax.steps import adversarial
from gan_jax.steps import culprit
from gan_jax.steps import game


class Programs:
    """The programs of one run, compiled when they are first called.

    Attributes:
        steps_per_call: most steps that one `advance` makes.
    """

    def __init__(self, config, gan, feed, constants, cadences):
        """Prepare to train.

        Args:
            config: validated ConfigDict.
            gan: a `game.GAN`.
            feed: as of `build.feed`.
            constants: `parallel.Constants`.
            cadences: ints >= 0, see `parallel.steps_per_call`.
        """
        self._gan, self._feed, self._constants = gan, feed, constants
        self._schedule = config.schedule
        self._convolutional = convolutional = build.convolutional(config)
        self._device_decides = parallel.bears_control_flow(convolutional)
        loop = parallel.loop(convolutional)
        self._options = {'loop': loop} if loop else {}
        bursts = gan.schedule == 'wgan' and config.schedule.burst_every
        self._draws = game.draws_per_step(gan)
        self.steps_per_call = parallel.steps_per_call(
            [*cadences, bursts or 0], convolutional,
            feed.bytes_per_batch * self._draws,
        )
        self._compiled = {}
        self._numbers, self._below_all = {}, None

    def advance(self, state, step, position):
        """Make the next steps, `steps_per_call` or, between bursts, one.

        Args:
            state: replicated state, donated.
            step, position: its counters, as ints.

        Returns:
            (state, metrics of the last step, step, position).
        """
        if self._gan.schedule == 'adaptive' and not self._device_decides:
            return self._adapt(state, step, position)
        if self._is_burst(step):
            state, position = self._burst(state, step, position)
        size = self.steps_per_call
        if step % size or self._is_burst(step + 1):
            size = 1
        fed = self._read(position, size * self._draws, size)
        due = self._due(step)
        state, metrics = self._call(
            (size, due), lambda: build.step(
                self._gan, self._feed, due=due, **self._options
            ), state, fed,
        )
        return state, metrics, step + size, position + size * self._draws

    def look_again(self, state, step, position):
        """Make the step again from which a number that is not finite came.

        Args:
            state: replicated, as it was before that step; donated.
            step, position: its counters, as ints.

        Returns:
            [(name, float)] of `culprit.look`, in their order.
        """
        fed = self._read(position, self._draws, 1)
        due = self._due(step)
        _, notes = self._call(
            ('look', due), lambda: self._part(culprit.look, due), state, fed
        )
        notes = parallel.unreplicate(notes)
        return [(name[5:], float(notes[name])) for name in sorted(notes)]

    def _due(self, step):
        """Name the lazy penalties of a step, where the host decides."""
        if self._device_decides:
            return None
        return frozenset(
            name for name, every in self._gan.lazy if step % every == 0
        )

    def _is_burst(self, step):
        """Say whether WGAN's schedule gives this step more critic updates."""
        schedule = self._schedule
        return self._gan.schedule == 'wgan' and adversarial.is_burst(
            step, schedule.burst_first, schedule.burst_every
        )

    def _burst(self, state, step, position):
        """Move D alone, so often that the step to come completes the burst."""
        d_steps = self._gan.d_steps
        due = self._due(step)
        first = d_steps + self._gan.g_steps  # the step's own numbers are below
        for number in range(0, self._schedule.burst_steps - d_steps, d_steps):
            fed = self._read(position, d_steps, 1)
            state, _ = self._call(
                ('critic', due), lambda: self._part(
                    adversarial.critic_step, due
                ), state, fed, self._numbered(first + number),
            )
            position += d_steps
        return state, position

    def _adapt(self, state, step, position):
        """Make a step of the adaptive schedule, reading each loss."""
        gan = self._gan
        fed = self._read(position, self._draws, 1)
        state, d_metrics, d_made = self._while_above(
            'd', adversarial.guarded_discriminator_step, state, step, fed,
            range(gan.d_steps), 0,
        )
        first = self._draws - gan.g_steps
        state, g_metrics, g_made = self._while_above(
            'g', adversarial.guarded_generator_step, state, step, fed,
            range(first, self._draws), gan.d_steps, forced=not d_made,
        )
        state, _ = self._call('finish', self._finish, state, fed)
        made = {'d/updates': d_made, 'g/updates': g_made}
        made = parallel.replicate(jax.tree.map(np.float32, made))
        metrics = {**d_metrics, **g_metrics, **made}
        return state, metrics, step + 1, position + self._draws

    def _while_above(
        self, player, part, state, step, fed, places, first, forced=False
    ):
        """Call a guarded part for each batch until it does not move.

        Returns:
            (state, metrics of the last that moved or of the first, how many).
        """
        due, kept = self._due(step), None
        for made, place in enumerate(places):
            constants = self._numbered(first + made)
            if forced and not made:
                constants = self._always(constants)
            state, metrics = self._call(
                (part.__name__, due), lambda: self._part(part, due), state,
                jax.tree.map(lambda a: a[:, :, place:place + 1], fed),
                constants,
            )
            moved = parallel.unreplicate(metrics[f'{player}/updates']) > 0
            kept = metrics if moved or kept is None else kept
            if not moved:
                return state, kept, made
        return state, kept, len(places)

    def _always(self, constants):
        """Give the constants with which G moves whatever its loss is."""
        if self._below_all is None:
            self._below_all = parallel.replicate(np.float32(-np.inf))
        return constants._replace(hyperparams=constants.hyperparams._replace(
            g_threshold=self._below_all
        ))

    def _finish(self):
        def run(state, constants, fed, key, across):
            del constants, fed, key, across
            return adversarial.finish_step(self._gan, state), {}

        return run

    def _part(self, part, due):
        return build.part_of_step(
            part, self._gan, self._feed, due=due, **self._options
        )

    def _number(self, number):
        """Place the number of an update on the devices, once."""
        if number not in self._numbers:
            self._numbers[number] = parallel.replicate(np.int32(number))
        return self._numbers[number]

    def _numbered(self, number):
        return self._constants._replace(number=self._number(number))

    def _read(self, position, count, size):
        """Read `count` batches for a call of `size` steps, per device."""
        fed = self._feed.read(position, count)
        return parallel.split(jax.tree.map(
            lambda a: a.reshape(size, count // size, *a.shape[1:]), fed
        ))

    def _call(self, name, make, state, fed, constants=None):
        """Call a program by name; compile it where it is new."""
        args = state, constants or self._constants, fed
        if name not in self._compiled:
            size = name[0] if isinstance(name[0], int) else 1
            call = parallel.train_call(make(), size, self._convolutional)
            self._compiled[name] = parallel.compile_call(
                call, self._convolutional, *args
            )
        state, metrics = self._compiled[name](*args)
        if parallel.must_block():
            jax.block_until_ready(state)
        return state, metrics
