/* The wizard's two pictures, drawn at the size that the screen's density wants. */
#ifndef ISSUING_APP_ART_H
#define ISSUING_APP_ART_H

#include <windows.h>

/* The band at the left of the first and the last page. */
HBITMAP art_band(int width, int height);
/* The emblem at the right of the other pages' heads. */
HBITMAP art_emblem(int size);

#endif
