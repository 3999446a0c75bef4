/*
 * sRGB and Oklab, a colour space whose distances follow what the eye calls different, so that half a squared distance
 * is a sensible cost of moving a colour. The formulas and matrices are those of Björn Ottosson,
 * "A perceptual color space for image processing", https://bottosson.github.io/posts/oklab/ (2020).
 */
#ifndef EXAMPLES_OKLAB_H
#define EXAMPLES_OKLAB_H

/* sRGB in 0..1 to Oklab: lightness in 0..1, and two signed axes, green to red and blue to yellow. */
void oklab_from_srgb(const float srgb[3], float lab[3]);

/* Back again; a colour that sRGB cannot show is clipped to 0..1 channel by channel. */
void oklab_to_srgb(const float lab[3], float srgb[3]);

#endif
